//! The table of answers, by which a retried write is applied once.
//!
//! One row a client, with the numbers of its writes and their answers; an answer that is long (of guards that did not hold,
//! with the values that were there) has a row of its own. A client's answers go when it says that it has them, or when it
//! was silent for [`ANSWERS_KEPT_MS`] of the shard's own time. A client's own clock bounds its retries to less than that
//! ([`granary_common::limits::MAX_RETRY_AGE_MS`]).
//!
//! The shard's time ([`pass`]) is what passed between two commands of one leader, by that leader's clock, and at most
//! [`MOST_MS`] for each: a clock that is set, or leaders whose clocks differ by whatever, drop no answer that its
//! client may still ask for. It goes slower than the world where there are few of them, and then answers stay longer.

use std::ops::ControlFlow;

use bytes::Bytes;
use granary_common::{ShardId, limits::ANSWERS_KEPT_MS};
use granary_proto::{
    kv::Retry,
    storage::{Answer, ClientRow, KeptAnswer, ShardState, TooOld, answer},
};
use prost::Message as _;

use crate::{
    errors::ApplyError,
    overlay::Overlay,
    rows::{self, Kind},
    view::View,
};

/// Most time that passes with one command, in ms. Far below the 5 minutes between the age from which a retry is refused and
/// that at which answers go.
pub(super) const MOST_MS: u64 = 10_000;
/// Clients are looked at with each command whose number is a multiple of this.
const SWEEP_EVERY: u64 = 16;
/// Most clients looked at then: two a command, for a command brings at most one new client, so the table cannot outgrow
/// the sweep.
const SWEEP_CLIENTS: usize = 32;
/// Longest answer, in bytes, that is kept in its client's row: those of writes that were done, and no values. A client that
/// waits for all the answers it may wait for has a row of 64 KiB.
const MAX_INLINE: usize = 48;
/// Most answers dropped then: four a command, for a command brings at most one new answer.
const SWEEP_ANSWERS: usize = 64;

/// What the table says of a write.
pub(super) enum Seen {
    /// It was applied before, or is too old to tell: this is the answer.
    Answered(Answer),
    /// It was not: execute it, then keep its answer.
    New(Client),
}

/// A client while one of its writes is applied.
pub(super) struct Client {
    shard: ShardId,
    id: u64,
    row: ClientRow,
}

/// Moves the shard's own time on, by a command of the entry that `state` has come to, whose leader's clock showed
/// `leader_time_ms`.
pub(super) fn pass(state: &mut ShardState, leader_time_ms: u64) {
    let term = state.applied_term;
    if state.leader_time_term == term {
        state.clock_ms += leader_time_ms.saturating_sub(state.leader_time_ms).min(MOST_MS);
    }
    (state.leader_time_ms, state.leader_time_term) = (leader_time_ms, term);
}

/// Looks a write up, and drops the answers that its client says it has. `now_ms` is the shard's own time.
pub(super) fn look<V: View + ?Sized>(
    overlay: &mut Overlay<'_, V>,
    shard: ShardId,
    retry: &Retry,
    now_ms: u64,
) -> Result<Seen, ApplyError> {
    let stored = overlay.get(&rows::client_key(shard, retry.client_id))?;
    let row = stored.map(|row| rows::decode_message(Kind::Client, row)).transpose()?.unwrap_or_default();
    let mut client = Client { shard, id: retry.client_id, row };
    client.row.last_seen_ms = now_ms;
    client.drop_below(overlay, retry.answered_below);

    if retry.sequence < client.row.answered_below {
        client.save(overlay);
        let too_old = TooOld { answered_below: client.row.answered_below };
        return Ok(Seen::Answered(Answer { kind: Some(answer::Kind::TooOld(too_old)) }));
    }
    let Ok(place) = client.row.kept.binary_search_by_key(&retry.sequence, |kept| kept.sequence) else {
        return Ok(Seen::New(client));
    };
    client.save(overlay);
    if let Some(answer) = client.row.kept.swap_remove(place).answer {
        return Ok(Seen::Answered(answer));
    }
    let row = overlay.get(&rows::answer_key(shard, client.id, retry.sequence))?;
    let row = row.ok_or(ApplyError::AnswerMissing { shard, client: client.id, sequence: retry.sequence })?;
    Ok(Seen::Answered(rows::decode_message(Kind::Answer, row)?))
}

impl Client {
    /// Keeps the answer to the write with this number, which [`look`] said to be new.
    ///
    /// A client has at most [`granary_common::limits::MAX_UNANSWERED`] numbers here: each is less than that above the
    /// `answered_below` of its own write (validated), and what is below the highest of those was dropped.
    pub(super) fn keep<V: View + ?Sized>(mut self, overlay: &mut Overlay<'_, V>, sequence: u64, answer: &Answer) {
        let inline = answer.encoded_len() <= MAX_INLINE;
        if !inline {
            overlay.put(rows::answer_key(self.shard, self.id, sequence), answer.encode_to_vec().into());
        }
        let place = self.row.kept.partition_point(|kept| kept.sequence < sequence);
        self.row.kept.insert(place, KeptAnswer { sequence, answer: inline.then(|| answer.clone()) });
        self.save(overlay);
    }

    fn drop_below<V: View + ?Sized>(&mut self, overlay: &mut Overlay<'_, V>, answered_below: u64) {
        if answered_below <= self.row.answered_below {
            return;
        }
        self.row.answered_below = answered_below;
        let dropped = self.row.kept.partition_point(|kept| kept.sequence < answered_below);
        self.drop_first(overlay, dropped);
    }

    fn drop_first<V: View + ?Sized>(&mut self, overlay: &mut Overlay<'_, V>, count: usize) {
        for kept in self.row.kept.drain(..count).filter(|kept| kept.answer.is_none()) {
            overlay.delete(rows::answer_key(self.shard, self.id, kept.sequence));
        }
    }

    fn save<V: View + ?Sized>(&self, overlay: &mut Overlay<'_, V>) {
        overlay.put(rows::client_key(self.shard, self.id), self.row.encode_to_vec().into());
    }
}

/// Drops what silent clients left, a few rows a time. `state.expiry_cursor` goes round over the clients.
pub(super) fn expire<V: View + ?Sized>(overlay: &mut Overlay<'_, V>, state: &mut ShardState) -> Result<(), ApplyError> {
    if !state.commands.is_multiple_of(SWEEP_EVERY) {
        return Ok(());
    }
    let shard = ShardId(state.shard_id);
    let clients = clients_behind(overlay, shard, state.expiry_cursor)?;
    let last = clients.len() < SWEEP_CLIENTS;
    let mut budget = SWEEP_ANSWERS;
    for mut client in clients {
        if state.clock_ms.saturating_sub(client.row.last_seen_ms) >= ANSWERS_KEPT_MS {
            let dropped = client.row.kept.len().min(budget);
            budget -= dropped;
            client.drop_first(overlay, dropped);
            if !client.row.kept.is_empty() {
                // The next sweep goes on with this client.
                client.save(overlay);
                return Ok(());
            }
            overlay.delete(rows::client_key(shard, client.id));
        }
        state.expiry_cursor = client.id;
    }
    if last {
        state.expiry_cursor = 0;
    }
    Ok(())
}

/// The next clients with an id above `cursor`, in order.
fn clients_behind(view: &(impl View + ?Sized), shard: ShardId, cursor: u64) -> Result<Vec<Client>, ApplyError> {
    let from = rows::after(&rows::client_key(shard, cursor));
    let to = rows::clients_range(shard).end;
    let mut found = Vec::new();
    view.scan(&from, &to, &mut |key, value| {
        found.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        if found.len() < SWEEP_CLIENTS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let client = |(key, value): (Bytes, Bytes)| {
        let id = rows::decode_client_key(&key)?;
        Ok(Client { shard, id, row: rows::decode_message(Kind::Client, value)? })
    };
    found.into_iter().map(client).collect()
}
