//! Turns what `raft` has ready into actions. The order of calls is `RawNode`'s: ready, make it readable, advance.

use granary_common::log::EntryKind;
use granary_proto::{map::Group as MapGroup, storage::MembershipEntry};
use raft::{
    Ready, StateRole,
    eraftpb::{Entry, EntryType, MessageType},
};

use super::{Actions, Answer, Config, Group, Install, Installing, Position, Unpersisted, convert, membership};
use crate::{
    action::{Append, Apply, ApplyEntry, Fetch, MembershipChange, PersistItem},
    event::Ticket,
};

impl Group {
    /// Handles everything that is ready. Writes go into `items` under the number `batch`. Says whether the group waits
    /// for that batch, and whether it must be synced.
    pub(crate) fn collect(
        &mut self,
        batch: u64,
        now_ns: u64,
        items: &mut Vec<PersistItem>,
        must_sync: &mut bool,
        out: &mut Actions,
    ) {
        if self.destroying {
            return;
        }
        self.ask_reads();
        while self.installing.is_none() && self.node.has_ready() {
            let ready = self.node.ready();
            if ready.ss().is_some_and(|soft| soft.raft_state != StateRole::Leader) {
                self.give_up_callers(out);
            }
            self.handle(ready, batch, now_ns, items, must_sync, out);
        }
        if self.installing.is_some() {
            self.answer_heartbeats_meanwhile(now_ns, out);
        }
        self.collect_wishes(out);
    }

    /// Installing takes long and a quorum may need this replica: its leader must not take it for dead.
    fn answer_heartbeats_meanwhile(&mut self, now_ns: u64, out: &mut Actions) {
        let messages = std::mem::take(&mut self.node.raft.msgs);
        self.node.raft.msgs = self.send_what_claims_nothing(messages, now_ns, out);
    }

    fn handle(
        &mut self,
        mut ready: Ready,
        batch: u64,
        now_ns: u64,
        items: &mut Vec<PersistItem>,
        must_sync: &mut bool,
        out: &mut Actions,
    ) {
        for state in ready.take_read_states() {
            self.read_confirmed(&state.request_ctx, state.index, out);
        }
        let number = ready.number();
        let mut messages = ready.take_messages();
        let mut held = ready.take_persisted_messages();
        // A sole voter leads before its term is on disk. If the others heard of it now, it could lead the same term
        // again behind a crash, with other entries.
        if self.synced_term < self.node.raft.term {
            held.append(&mut messages);
        }
        let committed = ready.take_committed_entries();
        let entries = ready.take_entries();
        let must = ready.must_sync();
        let hard_state_changed = ready.hs().is_some();
        if !ready.snapshot().is_empty() {
            self.install(ready, number, held, &entries, out);
            self.send(messages, now_ns, out);
            return;
        }
        let writes = !entries.is_empty() || must;
        if writes {
            let append = (!entries.is_empty()).then(|| self.append(&entries));
            // The commit index goes with the entries behind it. A change of membership is proposed when the one before is applied:
            // who has it must remember that the other was committed, or could lead by the quorums of before both.
            items.push(PersistItem {
                shard: self.shard,
                replica: self.replica,
                hard_state: (hard_state_changed || self.lazy_commit).then(|| self.hard_state()),
                append,
                truncate: None,
            });
            self.lazy_commit = false;
            *must_sync |= must;
        } else {
            self.lazy_commit |= hard_state_changed;
        }
        self.node.advance_append_async(ready);
        self.send(messages, now_ns, out);
        self.hand_out(committed, out);
        let term = writes.then_some(self.node.raft.term);
        if writes {
            let held = self.send_what_claims_nothing(held, now_ns, out);
            self.unpersisted.push_back(Unpersisted { batch, ready: number, term, held });
        } else if let Some(last) = self.unpersisted.back().map(|last| last.batch) {
            let held = self.send_what_claims_nothing(held, now_ns, out);
            self.unpersisted.push_back(Unpersisted { batch: last, ready: number, term: None, held });
        } else {
            self.node.on_persist_ready(number);
            self.send(held, now_ns, out);
        }
    }

    /// The answer to a heartbeat says nothing about the log, so it need not wait for the disk once its term is synced:
    /// else two followers on slow disks would depose a healthy leader. The question whether a candidate would be voted for
    /// promises nothing, and neither does its answer: behind a slow sync, all replicas would ask at the same moment.
    fn send_what_claims_nothing(
        &mut self,
        held: Vec<raft::eraftpb::Message>,
        now_ns: u64,
        out: &mut Actions,
    ) -> Vec<raft::eraftpb::Message> {
        let (synced_term, term) = (self.synced_term, self.node.raft.term);
        let (now, held): (Vec<_>, Vec<_>) = held.into_iter().partition(|message| match message.get_msg_type() {
            MessageType::MsgHeartbeatResponse => message.term == synced_term,
            MessageType::MsgRequestPreVote | MessageType::MsgRequestPreVoteResponse => term == synced_term,
            _ => false,
        });
        self.send(now, now_ns, out);
        held
    }

    fn append(&mut self, entries: &[Entry]) -> Append {
        let previous_last = self.node.mut_store().append(entries);
        for entry in entries {
            self.sizes.appended(entry.index, entry.data.len() + entry.context.len() + 32);
        }
        Append { entries: entries.iter().map(convert::entry_from_raft).collect(), previous_last }
    }

    /// A snapshot came: the log starts anew behind it, and nothing else is handed out until it is installed.
    fn install(
        &mut self,
        ready: Ready,
        number: u64,
        held: Vec<raft::eraftpb::Message>,
        entries: &[Entry],
        out: &mut Actions,
    ) {
        let meta = ready.snapshot().get_metadata();
        let position = Position { index: meta.index, term: meta.term };
        let snapshot_id = convert::snapshot_id(ready.snapshot());
        self.note_voters();
        self.node.mut_store().restart(position);
        self.sizes = crate::retain::Sizes::default();
        if !entries.is_empty() {
            self.append(entries);
        }
        self.installing = Some(Installing { ready: number, index: position.index, term: self.node.raft.term, held });
        out.installs.push(Install {
            shard: self.shard,
            replica: self.replica,
            snapshot_id,
            position,
            hard_state: self.hard_state(),
            entries: entries.iter().map(convert::entry_from_raft).collect(),
        });
        self.lazy_commit = false;
        self.node.advance_append_async(ready);
    }

    fn hand_out(&mut self, committed: Vec<Entry>, out: &mut Actions) {
        if committed.is_empty() || self.data_lost {
            return;
        }
        let entries = committed
            .into_iter()
            .map(|entry| {
                let tickets = self.tickets_of(entry.index, entry.term, out);
                let membership = match entry.get_entry_type() {
                    EntryType::EntryNormal => None,
                    EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                        let before = self.group.clone();
                        let change = self.change_membership(&entry);
                        self.note_removed(&before);
                        change
                    }
                };
                ApplyEntry { entry: convert::entry_from_raft(&entry), tickets, membership }
            })
            .collect();
        out.applies.push(Apply { shard: self.shard, replica: self.replica, entries });
    }

    /// Whose entry this is. A proposal of an older term at this index was overwritten: it is not applied.
    fn tickets_of(&mut self, index: u64, term: u64, out: &mut Actions) -> Vec<Ticket> {
        let Some((proposed_term, tickets)) = self.proposed.remove(&index) else { return Vec::new() };
        if proposed_term == term {
            return tickets;
        }
        let leader = self.leader_node();
        out.answers.extend(tickets.into_iter().map(|ticket| (ticket, Answer::NotLeader { leader })));
        Vec::new()
    }

    fn change_membership(&mut self, entry: &Entry) -> Option<MembershipChange> {
        debug_assert_eq!(convert::entry_from_raft(entry).kind, EntryKind::ConfChange);
        let change =
            membership::decode(&entry.context).unwrap_or_else(|error| undecodable(self.shard, entry.index, &error));
        match self.node.apply_conf_change(&membership::change_of(&change)) {
            Ok(conf) => {
                let conf_state = convert::conf_state_from_raft(&conf);
                let group: MapGroup = membership::group_after(&self.group, &change, &conf_state);
                self.group = group.clone();
                self.group_index = entry.index;
                self.note_voters();
                self.step_down_when_out();
                self.settled_at = None;
                Some(MembershipChange { conf_state, group })
            }
            Err(error) => {
                // Every replica comes to the same verdict, so skipping it keeps them equal.
                tracing::error!(shard = self.shard.0, index = entry.index, %error, "a membership change does not fit");
                None
            }
        }
    }

    /// Who is out by now neither leads nor wins with votes it asked for: `raft` has no place for it as leader, ends the
    /// process at its next commit, and drops what it proposes. It came to lead within the change that took it out.
    fn step_down_when_out(&mut self) {
        let raft = &mut self.node.raft;
        let votes = self.voters.iter().any(|half| half.contains(&self.replica.0));
        if !votes && raft.state != StateRole::Follower {
            raft.become_follower(raft.term, raft::INVALID_ID);
        }
    }

    fn collect_wishes(&mut self, out: &mut Actions) {
        for wanted in self.node.mut_store().take_fetches() {
            self.next_fetch += 1;
            self.fetches.insert(self.next_fetch, wanted.context);
            out.fetches.push(Fetch {
                shard: self.shard,
                replica: self.replica,
                id: self.next_fetch,
                low: wanted.low,
                high: wanted.high,
                max_bytes: wanted.max_bytes,
            });
        }
        let wishes = self.node.mut_store().take_snapshot_wishes();
        if !wishes.is_empty() {
            for to in wishes {
                if !self.waiting_for_snapshot.contains(&to) {
                    self.waiting_for_snapshot.push(to);
                }
            }
            if !std::mem::replace(&mut self.making_snapshot, true) {
                out.make_snapshots.push((self.shard, self.replica));
            }
        }
    }

    fn ask_reads(&mut self) {
        if self.reads_new.is_empty() || !self.leads() || !self.node.raft.commit_to_current_term() {
            return;
        }
        self.next_read += 1;
        let tickets = std::mem::take(&mut self.reads_new);
        self.reads_asked.push_back(super::Asked { context: self.next_read, tickets, at_tick: self.ticks });
        self.node.read_index(self.next_read.to_be_bytes().to_vec());
    }

    /// A ReadIndex round may be dropped without a word: ask again after an election timeout.
    pub(super) fn retry_reads(&mut self, config: &Config) {
        while let Some(asked) =
            self.reads_asked.pop_front_if(|asked| self.ticks > asked.at_tick + config.election_ticks as u64)
        {
            self.reads_new.extend(asked.tickets);
        }
    }

    fn read_confirmed(&mut self, context: &[u8], index: u64, out: &mut Actions) {
        let Ok(context) = <[u8; 8]>::try_from(context).map(u64::from_be_bytes) else { return };
        // A later round confirms the earlier ones too.
        while let Some(asked) = self.reads_asked.pop_front_if(|asked| asked.context <= context) {
            self.reads_waiting.push((index, asked.tickets));
        }
        self.answer_reads(out);
    }

    /// Whether something waits for entries to be applied: reads, or the lease of a new leader.
    pub(crate) fn awaits_applied(&self) -> bool {
        !self.reads_waiting.is_empty() || (self.leads() && !self.node.raft.apply_to_current_term())
    }

    /// Answers the reads whose index is applied.
    pub(crate) fn answer_reads(&mut self, out: &mut Actions) {
        let applied = self.node.raft.raft_log.applied;
        let ready = self.reads_waiting.extract_if(.., |(index, _)| *index <= applied);
        out.answers.extend(ready.flat_map(|(_, tickets)| tickets).map(|ticket| (ticket, Answer::ReadReady)));
    }
}

/// An entry of an unknown kind stops the node, it is never skipped: replicas that read it differently would differ for
/// ever. A panic ends the process (see the node's `main`).
#[expect(clippy::panic, reason = "a committed entry that cannot be read is a broken invariant")]
fn undecodable(shard: granary_common::ShardId, index: u64, error: &prost::DecodeError) -> MembershipEntry {
    panic!("the membership entry {index} of {shard} does not decode: {error}")
}
