//! `raft`'s `Storage`, in memory only: all entries above the applied index, a bounded tail below it, and the term
//! boundaries of the whole retained log, so that `term` always answers. Older entries, for a slow follower, are asked
//! from the driver: `LogTemporarilyUnavailable`, a fetch, and `raft` asks again.

use std::{cell::RefCell, collections::VecDeque};

use granary_common::log::Position;
use raft::{
    Error, GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, Snapshot},
};

use crate::{
    convert::{conf_state_to_raft, entry_to_raft, hard_state_to_raft},
    event::{Recovered, SnapshotMade},
};

/// Fetches under way for one group; more are refused (and asked again by `raft` at the next heartbeat).
const MAX_FETCHES: usize = 16;

/// A fetch that `raft` asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) max_bytes: u64,
    pub(crate) context: GetEntriesContext,
}

/// What `raft` asked for through `&self` and could not get at once.
#[derive(Debug, Default)]
struct Wishes {
    fetches: Vec<Wanted>,
    /// Followers that want a snapshot.
    snapshot_for: Vec<u64>,
}

#[derive(Debug)]
pub(crate) struct MemLog {
    initial: RaftState,
    truncated: Position,
    /// First position of each run of one term behind `truncated`, ascending.
    terms: Vec<Position>,
    /// Consecutive, up to the last index.
    entries: VecDeque<Entry>,
    last_index: u64,
    bytes: usize,
    /// Entries that were fetched and are about to be asked again.
    fetched: Vec<Entry>,
    fetches_under_way: usize,
    snapshot: Option<Snapshot>,
    wishes: RefCell<Wishes>,
}

fn weight(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len() + 32
}

impl MemLog {
    pub(crate) fn new(recovered: &mut Recovered) -> Self {
        let mut hard_state = recovered.hard_state;
        // Applied entries were synced here first, so they are committed whatever the log remembers (HAZARDS H17).
        hard_state.commit = hard_state.commit.max(recovered.applied);
        let entries: VecDeque<Entry> = std::mem::take(&mut recovered.entries).into_iter().map(entry_to_raft).collect();
        let bytes = entries.iter().map(weight).sum();
        Self {
            initial: RaftState {
                hard_state: hard_state_to_raft(&hard_state),
                conf_state: conf_state_to_raft(&recovered.conf_state),
            },
            truncated: recovered.truncated,
            terms: std::mem::take(&mut recovered.terms),
            entries,
            last_index: recovered.last_index,
            bytes,
            fetched: Vec::new(),
            fetches_under_way: 0,
            snapshot: None,
            wishes: RefCell::default(),
        }
    }

    fn memory_first(&self) -> u64 {
        self.last_index + 1 - self.entries.len() as u64
    }

    pub(crate) fn last(&self) -> u64 {
        self.last_index
    }

    pub(crate) fn truncated(&self) -> Position {
        self.truncated
    }

    /// Appends consecutive entries, overwriting what they conflict with. Returns the last index before.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> u64 {
        let previous_last = self.last_index;
        let Some(first) = entries.first().map(|entry| entry.index) else { return previous_last };
        while self.last_index >= first {
            if let Some(entry) = self.entries.pop_back() {
                self.bytes -= weight(&entry);
            }
            self.last_index -= 1;
        }
        while self.terms.last().is_some_and(|run| run.index >= first) {
            self.terms.pop();
        }
        for entry in entries {
            if self.terms.last().map_or(self.truncated.term, |run| run.term) != entry.term
                || (self.terms.is_empty() && entry.index == self.truncated.index + 1)
            {
                self.terms.push(Position { index: entry.index, term: entry.term });
            }
            self.bytes += weight(entry);
            self.entries.push_back(entry.clone());
            self.last_index = entry.index;
        }
        previous_last
    }

    /// Forgets entries at or below `applied` in memory until the tail is within its bounds.
    pub(crate) fn trim(&mut self, applied: u64, max_entries: usize, max_bytes: usize) {
        while (self.entries.len() > max_entries || self.bytes > max_bytes)
            && self.entries.front().is_some_and(|entry| entry.index <= applied)
        {
            if let Some(entry) = self.entries.pop_front() {
                self.bytes -= weight(&entry);
            }
        }
    }

    /// The log up to `index` is being purged. Returns the position; `None` when that is nothing new.
    pub(crate) fn truncate(&mut self, index: u64) -> Option<Position> {
        if index <= self.truncated.index || index > self.last_index {
            return None;
        }
        let position = Position { index, term: self.term_at(index)? };
        self.truncated = position;
        let keep = self.terms.partition_point(|run| run.index <= index + 1);
        if keep > 0 {
            self.terms.drain(..keep - 1);
            if let Some(run) = self.terms.first_mut() {
                run.index = run.index.max(index + 1);
            }
        }
        if self.terms.first().is_some_and(|run| run.index > self.last_index) {
            self.terms.clear();
        }
        self.trim(index, 0, 0);
        Some(position)
    }

    /// The log starts anew behind an installed snapshot.
    pub(crate) fn restart(&mut self, position: Position) {
        self.truncated = position;
        self.terms.clear();
        self.entries.clear();
        self.bytes = 0;
        self.last_index = position.index;
        self.fetched.clear();
        self.snapshot = None;
    }

    fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.truncated.index {
            return Some(self.truncated.term);
        }
        if index < self.truncated.index || index > self.last_index {
            return None;
        }
        let run = self.terms.partition_point(|run| run.index <= index);
        run.checked_sub(1).map(|run| self.terms[run].term)
    }

    /// Fetches asked for since the last call.
    pub(crate) fn take_fetches(&mut self) -> Vec<Wanted> {
        let wanted = std::mem::take(&mut self.wishes.get_mut().fetches);
        self.fetches_under_way += wanted.len();
        wanted
    }

    /// A fetch came back; `raft` is about to ask again.
    pub(crate) fn set_fetched(&mut self, entries: Vec<Entry>) {
        self.fetches_under_way = self.fetches_under_way.saturating_sub(1);
        self.fetched = entries;
    }

    pub(crate) fn clear_fetched(&mut self) {
        self.fetched = Vec::new();
    }

    /// Followers that asked for a snapshot since the last call.
    pub(crate) fn take_snapshot_wishes(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.wishes.get_mut().snapshot_for)
    }

    pub(crate) fn offer_snapshot(&mut self, made: &SnapshotMade) {
        let mut snapshot = Snapshot::default();
        snapshot.data = made.id.to_be_bytes().to_vec().into();
        let meta = snapshot.mut_metadata();
        meta.index = made.position.index;
        meta.term = made.position.term;
        meta.set_conf_state(conf_state_to_raft(&made.conf_state));
        self.snapshot = Some(snapshot);
    }

    /// Whether the offered snapshot is of use to `to`. One made before it was added does not know it, and would be
    /// refused there.
    pub(crate) fn has_snapshot_for(&self, request_index: u64, to: u64) -> bool {
        self.snapshot.as_ref().is_some_and(|snapshot| {
            let meta = snapshot.get_metadata();
            meta.index >= request_index && meta.index >= self.truncated.index && member(meta.get_conf_state(), to)
        })
    }

    pub(crate) fn withdraw_snapshot(&mut self) {
        self.snapshot = None;
    }
}

fn member(conf: &ConfState, id: u64) -> bool {
    conf.get_voters().contains(&id) || conf.get_learners().contains(&id) || conf.get_voters_outgoing().contains(&id)
}

impl Storage for MemLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let max_size = max_size.into().unwrap_or(u64::MAX);
        if low <= self.truncated.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last_index + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let in_memory = self.memory_first();
        if low >= in_memory {
            let from = (low - in_memory) as usize;
            let entries = self.entries.range(from..(high - in_memory) as usize);
            return Ok(limited(entries, max_size));
        }
        if let Some(at) = self.fetched.iter().position(|entry| entry.index == low) {
            return Ok(limited(self.fetched[at..].iter().take_while(|entry| entry.index < high), max_size));
        }
        if !context.can_async() {
            // Cannot be: all entries above the applied index are in memory.
            return Err(Error::Store(StorageError::Unavailable));
        }
        let mut wishes = self.wishes.borrow_mut();
        if self.fetches_under_way + wishes.fetches.len() < MAX_FETCHES {
            let high = high.min(in_memory);
            wishes.fetches.push(Wanted { low, high, max_bytes: max_size.min(4 << 20), context });
        }
        Err(Error::Store(StorageError::LogTemporarilyUnavailable))
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        self.term_at(index).ok_or(Error::Store(if index < self.truncated.index {
            StorageError::Compacted
        } else {
            StorageError::Unavailable
        }))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last_index)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        if let Some(snapshot) = self.snapshot.as_ref().filter(|_| self.has_snapshot_for(request_index, to)) {
            return Ok(snapshot.clone());
        }
        let mut wishes = self.wishes.borrow_mut();
        if !wishes.snapshot_for.contains(&to) {
            wishes.snapshot_for.push(to);
        }
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

/// Entries up to `max_bytes`, at least one.
fn limited<'a>(entries: impl Iterator<Item = &'a Entry>, max_bytes: u64) -> Vec<Entry> {
    let mut bytes = 0;
    let mut taken = Vec::new();
    for entry in entries {
        bytes += weight(entry) as u64;
        if bytes > max_bytes && !taken.is_empty() {
            break;
        }
        taken.push(entry.clone());
    }
    taken
}

#[cfg(test)]
mod model_tests;
