//! What an entry does to the rows of its shard.

use bytes::Bytes;
use granary_common::{ShardId, SlotRange, slot_of};
use granary_proto::{
    kv, map,
    storage::{Answer, Command, GuardFailed, ShardState, Written, answer, command::Operation},
};

use super::{
    answers::{self, Seen},
    bounds::tag_slot,
    guard, sweep,
};
use crate::{
    errors::ApplyError,
    overlay::Overlay,
    rows,
    shard::{self, Turn},
    view::View,
};

/// Applies the entry at `index`, with its commands: gathers their writes in `overlay`, moves `state` on, and answers each in
/// turn. The caller writes `state` ([`shard::save`]) with the batch.
///
/// `None`: the entry was applied before, and nothing is changed. An error stops the node, and what `overlay` and `state`
/// hold then must be dropped. The commands must come from this module's `..._command` functions, which validate.
///
/// `state.bytes` is rough: a put adds its whole row though it may replace one (to read the old row would cost each put
/// a read), a delete takes off what it found, a delete-range within a tag as well, and one without a tag takes off
/// nothing unless it empties the shard.
pub fn apply<V: View + ?Sized>(
    overlay: &mut Overlay<'_, V>,
    state: &mut ShardState,
    commands: &[Command],
    index: u64,
    term: u64,
) -> Result<Option<Vec<Answer>>, ApplyError> {
    if shard::advance(state, index, term)? == Turn::Applied {
        return Ok(None);
    }
    commands.iter().map(|command| apply_command(overlay, state, command)).collect::<Result<_, _>>().map(Some)
}

fn apply_command<V: View + ?Sized>(
    overlay: &mut Overlay<'_, V>,
    state: &mut ShardState,
    command: &Command,
) -> Result<Answer, ApplyError> {
    answers::pass(state, command.leader_time_ms);
    state.commands += 1;
    let mut entry = Entry { overlay, state };
    let operation = command.operation.as_ref().ok_or_else(|| entry.unknown("operation"))?;
    let range = shard::range(entry.state);
    if !owns(range, operation) {
        let range = map::SlotRange { start: range.start.into(), end: range.end.into() };
        return Ok(Answer { kind: Some(answer::Kind::WrongRange(range)) });
    }
    let answer = entry.execute_once(command, operation)?;
    answers::expire(entry.overlay, entry.state)?;
    Ok(answer)
}

/// Whether all slots of the operation are in `range`.
fn owns(range: SlotRange, operation: &Operation) -> bool {
    let owns_key = |key: &Bytes| range.contains(slot_of(key));
    let owns_writes = |writes: &[kv::Write]| writes.iter().all(|write| owns_key(&write.key));
    match operation {
        Operation::Write(write) => owns_key(&write.key),
        Operation::CompareAndSet(cas) => cas.expected.as_ref().is_none_or(|guard| owns_key(&guard.key)),
        Operation::Batch(batch) => owns_writes(&batch.writes),
        Operation::Txn(txn) => txn.guards.iter().all(|guard| owns_key(&guard.key)) && owns_writes(&txn.writes),
        Operation::DeleteRange(body) => body.tag.is_empty() || range.contains(tag_slot(&body.tag)),
    }
}

/// A change of one row.
#[derive(Clone, Copy)]
enum Change<'a> {
    Put(&'a Bytes),
    Delete,
}

/// One command while it is applied.
struct Entry<'e, 'v, V: View + ?Sized> {
    overlay: &'e mut Overlay<'v, V>,
    state: &'e mut ShardState,
}

impl<V: View + ?Sized> Entry<'_, '_, V> {
    fn unknown(&self, what: &'static str) -> ApplyError {
        ApplyError::UnknownOperation { shard: ShardId(self.state.shard_id), index: self.state.applied_index, what }
    }

    /// Executes the operation unless this is a retry of one that was.
    fn execute_once(&mut self, command: &Command, operation: &Operation) -> Result<Answer, ApplyError> {
        let Some(retry) = command.retry.as_ref().filter(|retry| retry.client_id != 0) else {
            return self.execute(operation);
        };
        let shard = ShardId(self.state.shard_id);
        match answers::look(self.overlay, shard, retry, self.state.clock_ms)? {
            Seen::Answered(answer) => Ok(answer),
            Seen::New(client) => {
                let answer = self.execute(operation)?;
                client.keep(self.overlay, retry.sequence, &answer);
                Ok(answer)
            }
        }
    }

    fn execute(&mut self, operation: &Operation) -> Result<Answer, ApplyError> {
        let revision = self.state.revision + 1;
        let existed = match operation {
            Operation::Write(write) => self.write(write, revision)?,
            Operation::CompareAndSet(cas) => {
                let expected = cas.expected.as_ref().ok_or_else(|| self.unknown("guard"))?;
                if let Some(failed) = self.check(std::slice::from_ref(expected))? {
                    return Ok(failed);
                }
                let change = match &cas.change {
                    Some(kv::compare_and_set_request::Change::Value(value)) => Change::Put(value),
                    Some(kv::compare_and_set_request::Change::Delete(true)) => Change::Delete,
                    _ => return Err(self.unknown("change of a compare-and-set")),
                };
                self.change(&expected.key, change, revision)?
            }
            Operation::Batch(batch) => self.write_all(&batch.writes, revision)?,
            Operation::Txn(txn) => {
                if let Some(failed) = self.check(&txn.guards)? {
                    return Ok(failed);
                }
                if txn.writes.is_empty() {
                    // Only guards: nothing is written, so there is no new revision.
                    return Ok(written(self.state.revision, false));
                }
                self.write_all(&txn.writes, revision)?
            }
            Operation::DeleteRange(body) => sweep::delete_range(self.overlay, self.state, body)?,
        };
        self.state.revision = revision;
        Ok(written(revision, existed))
    }

    /// The answer when guards do not hold.
    fn check(&self, guards: &[kv::Guard]) -> Result<Option<Answer>, ApplyError> {
        let current = guard::failed(&*self.overlay, guards, || self.unknown("condition of a guard"))?;
        let failed = |current| Answer { kind: Some(answer::Kind::GuardFailed(GuardFailed { current })) };
        Ok((!current.is_empty()).then(|| failed(current)))
    }

    /// Whether any deleted row was there.
    fn write_all(&mut self, writes: &[kv::Write], revision: u64) -> Result<bool, ApplyError> {
        writes.iter().try_fold(false, |existed, write| Ok(self.write(write, revision)? || existed))
    }

    fn write(&mut self, write: &kv::Write, revision: u64) -> Result<bool, ApplyError> {
        let change = match &write.change {
            Some(kv::write::Change::Value(value)) => Change::Put(value),
            Some(kv::write::Change::Delete(true)) => Change::Delete,
            Some(kv::write::Change::Delete(false)) | None => return Err(self.unknown("change of a write")),
        };
        self.change(&write.key, change, revision)
    }

    /// Whether a deleted row was there.
    fn change(&mut self, key: &Bytes, change: Change<'_>, revision: u64) -> Result<bool, ApplyError> {
        let row = rows::data_key(key);
        match change {
            Change::Put(value) => {
                self.overlay.put(row, rows::encode_data(revision, value));
                self.state.bytes += (key.len() + value.len()) as u64;
                Ok(false)
            }
            Change::Delete => {
                let Some(old) = self.overlay.get(&row)? else { return Ok(false) };
                let (_, value) = rows::DataRow::decode_slice(&old)?;
                self.state.bytes = self.state.bytes.saturating_sub((key.len() + value.len()) as u64);
                self.overlay.delete(row);
                Ok(true)
            }
        }
    }
}

fn written(revision: u64, existed: bool) -> Answer {
    Answer { kind: Some(answer::Kind::Written(Written { revision, existed })) }
}
