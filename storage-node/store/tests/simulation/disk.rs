//! What a node's two stores hold, and what of it a crash leaves.

use std::collections::BTreeMap;

use bytes::Bytes;
use granary_common::log::{Entry, HardState, Position};
use granary_proto::{map, raft as wire};
use granary_store::Recovered;

/// One log as it is on the disk.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub hard_state: HardState,
    pub truncated: Position,
    pub entries: BTreeMap<u64, Entry>,
}

impl Log {
    pub fn last(&self) -> u64 {
        self.entries.keys().next_back().copied().unwrap_or(self.truncated.index)
    }

    /// Whether this log holds the entry at `at`, or held it until it was purged.
    pub fn holds(&self, at: Position) -> bool {
        at.index <= self.truncated.index || self.entries.get(&at.index).is_some_and(|entry| entry.term == at.term)
    }
}

/// A change of the log store.
#[derive(Clone, Debug)]
pub enum LogOp {
    Append(Vec<Entry>),
    HardState(HardState),
    Truncate(Position),
    Restart(Position, HardState),
    Delete,
}

/// One shard's state machine: the values applied, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub replica: u64,
    pub applied: Position,
    pub conf_state: wire::ConfState,
    pub group: map::Group,
    pub values: Vec<(u64, Bytes)>,
}

/// Which replica of a shard lives here; 0: none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    pub replica: u64,
    pub min_replica: u64,
    pub destroying: bool,
}

/// Both stores. `data` is what the process sees, `durable` what a power cut leaves at least.
#[derive(Default)]
pub struct Disk {
    pub logs: BTreeMap<(u32, u64), Log>,
    pub records: BTreeMap<u32, Record>,
    pub data: BTreeMap<u32, State>,
    pub durable: BTreeMap<u32, State>,
    /// Shards with an install under way.
    pub markers: Vec<u32>,
}

impl Disk {
    pub fn flush(&mut self) {
        self.durable = self.data.clone();
    }

    pub fn write_log(&mut self, shard: u32, replica: u64, op: LogOp) {
        let log = self.logs.entry((shard, replica)).or_default();
        match op {
            LogOp::Append(entries) => {
                let Some(first) = entries.first().map(|entry| entry.index) else { return };
                assert!(first <= log.last() + 1, "a hole in the log of shard {shard}: {first} behind {}", log.last());
                assert!(first > log.truncated.index, "shard {shard} appends {first} below its truncated index");
                log.entries.split_off(&first);
                log.entries.extend(entries.into_iter().map(|entry| (entry.index, entry)));
            }
            LogOp::HardState(state) => {
                assert!(state.term >= log.hard_state.term, "the term of shard {shard} falls");
                log.hard_state = state;
            }
            LogOp::Truncate(to) => {
                let kept = log.entries.split_off(&(to.index + 1));
                let at = log.entries.get(&to.index).map(|entry| entry.term);
                assert!(at.is_none_or(|term| term == to.term), "shard {shard} truncates at a wrong term");
                log.entries = kept;
                log.truncated = to;
            }
            LogOp::Restart(at, hard_state) => {
                assert!(hard_state.term >= log.hard_state.term, "the term of shard {shard} falls at an install");
                *log = Log { hard_state, truncated: at, entries: BTreeMap::new() };
            }
            LogOp::Delete => {
                self.logs.remove(&(shard, replica));
            }
        }
    }

    /// As drivers/recovery.rs does it. Returns (shard, replica, where it stands).
    pub fn recover(&mut self, memory_entries: usize) -> Vec<(u32, u64, Recovered)> {
        for shard in std::mem::take(&mut self.markers) {
            self.data.remove(&shard);
        }
        let mut found = Vec::new();
        for (shard, record) in self.records.clone() {
            if record.destroying {
                self.data.remove(&shard);
                self.logs.remove(&(shard, record.replica));
                self.records.insert(shard, tombstone(record));
            } else if record.replica != 0 {
                found.push((shard, record.replica, self.restart(shard, record.replica, memory_entries)));
            }
        }
        let orphans: Vec<u32> = self
            .data
            .keys()
            .filter(|shard| self.records.get(shard).is_none_or(|record| record.replica == 0))
            .copied()
            .collect();
        for shard in orphans {
            self.data.remove(&shard);
        }
        let records = self.records.clone();
        self.logs.retain(|(shard, replica), _| records.get(shard).is_some_and(|record| record.replica == *replica));
        self.flush();
        found
    }

    fn restart(&mut self, shard: u32, replica: u64, memory_entries: usize) -> Recovered {
        let log = self.logs.entry((shard, replica)).or_default();
        let state = self.data.get(&shard).cloned();
        if let Some(state) = &state
            && state.applied.index > log.last()
        {
            let mut hard_state = log.hard_state;
            hard_state.commit = state.applied.index;
            hard_state.term = hard_state.term.max(state.applied.term);
            *log = Log { hard_state, truncated: state.applied, entries: BTreeMap::new() };
        }
        let data_lost = match &state {
            Some(state) => state.applied.index < log.truncated.index,
            None => log.last() > 0,
        };
        if data_lost {
            self.data.remove(&shard);
        }
        let state = state.filter(|_| !data_lost);
        let applied = match &state {
            Some(state) => state.applied.index,
            None => log.truncated.index,
        };
        let mut terms: Vec<Position> = Vec::new();
        for entry in log.entries.values() {
            if terms.last().is_none_or(|run| run.term != entry.term) {
                terms.push(Position { index: entry.index, term: entry.term });
            }
        }
        let tail = (log.last() + 1).saturating_sub(memory_entries as u64).min(applied + 1);
        Recovered {
            hard_state: log.hard_state,
            truncated: log.truncated,
            terms,
            last_index: log.last(),
            entries: log.entries.range(tail..).map(|(_, entry)| entry.clone()).collect(),
            applied,
            conf_state: state.as_ref().map(|state| state.conf_state.clone()).unwrap_or_default(),
            group: state.map(|state| state.group).unwrap_or_default(),
            data_lost,
        }
    }
}

pub fn tombstone(record: Record) -> Record {
    Record { replica: 0, min_replica: record.min_replica.max(record.replica + 1), destroying: false }
}
