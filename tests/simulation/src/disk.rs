//! One disk: `raft/` with logs and records, `data/` with rows, the identity; what was written, what is synced, and what of
//! it a crash of the process or of the power leaves.

use std::{collections::BTreeMap, rc::Rc};

use granary_common::{
    NodeId, ReplicaId, ShardId, SlotRange,
    log::{Entry, HardState, Position},
};
use granary_duties::{
    replicas::tombstone,
    restart::{Fit, LogFound, fit},
};
use granary_machine::{Write, rows as row, shard};
use granary_proto::{
    map::ClusterMap,
    storage::{Identity, ReplicaRecord, ShardState},
};
use granary_store::{Recovered, Retention};

use crate::{
    rng::Rng,
    rows::{Rows, ranges, scan},
};

/// Names a log.
pub type LogId = (ShardId, ReplicaId);

/// One log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Term, vote, commit.
    pub hard_state: HardState,
    /// The last entry that is gone.
    pub truncated: Position,
    /// By index.
    pub entries: BTreeMap<u64, Entry>,
}

impl Log {
    /// Its last position.
    pub fn last(&self) -> Position {
        self.entries
            .values()
            .next_back()
            .map_or(self.truncated, |entry| Position { index: entry.index, term: entry.term })
    }

    /// Term of the entry at `index`, where it has one or ends there.
    pub fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.truncated.index { Some(self.truncated.term) } else { Some(self.entries.get(&index)?.term) }
    }

    /// Whether it holds the entry, or held it until it was purged.
    pub fn holds(&self, at: Position) -> bool {
        at.index <= self.truncated.index || self.entries.get(&at.index).is_some_and(|entry| entry.term == at.term)
    }
}

/// A change of `raft/`.
#[derive(Clone, Debug)]
pub enum Op {
    /// Entries, which overwrite what they conflict with.
    Append(LogId, Vec<Entry>),
    /// Term, vote, commit.
    HardState(LogId, HardState),
    /// A purge.
    Truncate(LogId, Position),
    /// A log begins anew.
    Restart(LogId, Position, HardState),
    /// A log goes.
    Delete(LogId),
    /// What is known of a shard's replica here.
    Record(ReplicaRecord),
    /// The copy of the map.
    Map(Rc<ClusterMap>),
    /// Highest incarnation of a peer.
    Incarnation(NodeId, u64),
}

impl Op {
    /// Whether the engine syncs it.
    fn must_sync(&self, before: &Raft) -> bool {
        match self {
            Self::Append(..) | Self::Restart(..) | Self::Record(_) | Self::Incarnation(..) => true,
            Self::HardState(log, now) => {
                let known = before.logs.get(log).map(|log| log.hard_state).unwrap_or_default();
                (known.term, known.vote) != (now.term, now.vote)
            }
            Self::Truncate(..) | Self::Delete(_) | Self::Map(_) => false,
        }
    }
}

/// The content of `raft/`.
#[derive(Clone, Debug, Default)]
pub struct Raft {
    /// The logs.
    pub logs: BTreeMap<LogId, Log>,
    /// By shard.
    pub records: BTreeMap<ShardId, ReplicaRecord>,
    /// The copy of the map.
    pub map: Option<Rc<ClusterMap>>,
    /// Highest incarnation of each peer.
    pub incarnations: BTreeMap<NodeId, u64>,
}

impl Raft {
    fn make(&mut self, op: &Op) {
        match op {
            Op::Append(id, entries) => {
                let log = self.logs.entry(*id).or_default();
                let Some(first) = entries.first().map(|entry| entry.index) else { return };
                assert!(first <= log.last().index + 1, "a hole in the log {id:?}: {first} behind {:?}", log.last());
                assert!(first > log.truncated.index, "{id:?} appends {first} below its truncated index");
                log.entries.split_off(&first);
                log.entries.extend(entries.iter().map(|entry| (entry.index, entry.clone())));
            }
            Op::HardState(id, state) => {
                let log = self.logs.entry(*id).or_default();
                assert!(state.term >= log.hard_state.term, "the term of {id:?} falls");
                log.hard_state = *state;
            }
            Op::Truncate(id, to) => {
                let log = self.logs.entry(*id).or_default();
                if to.index > log.truncated.index {
                    assert!(log.term_at(to.index).is_none_or(|term| term == to.term), "{id:?}: a wrong term is purged");
                    log.entries = log.entries.split_off(&(to.index + 1));
                    log.truncated = *to;
                }
            }
            Op::Restart(id, at, hard_state) => {
                let log = self.logs.entry(*id).or_default();
                assert!(hard_state.term >= log.hard_state.term, "the term of {id:?} falls at an install");
                *log = Log { hard_state: *hard_state, truncated: *at, entries: BTreeMap::new() };
            }
            Op::Delete(id) => {
                self.logs.remove(id);
            }
            Op::Record(record) => {
                self.records.insert(ShardId(record.shard_id), *record);
            }
            Op::Map(map) => self.map = Some(map.clone()),
            Op::Incarnation(node, incarnation) => {
                self.incarnations.insert(*node, *incarnation);
            }
        }
    }
}

/// A replica as it was left.
pub struct Found {
    /// Its log.
    pub log: LogId,
    /// For the store.
    pub recovered: Recovered,
    /// For the applier; `None`: it waits for a snapshot.
    pub state: Option<ShardState>,
}

/// See the module.
#[derive(Debug)]
pub struct Disk {
    /// Of the disk, for life.
    pub uuid: String,
    /// Number of starts.
    pub incarnation: u64,
    /// Which node of which cluster; `None`: blank.
    pub identity: Option<Identity>,
    /// `raft/` as the process sees it.
    pub raft: Raft,
    /// `raft/` as a power cut leaves it at least.
    pub synced: Raft,
    unsynced: Vec<Vec<Op>>,
    /// `data/` as the process sees it.
    pub data: Rows,
    durable: Rows,
    undurable: Vec<Vec<Write>>,
}

impl Disk {
    /// An empty one, in a cluster of so many data shards.
    pub fn new(uuid: String, shards: u32) -> Self {
        Self {
            uuid,
            incarnation: 0,
            identity: None,
            raft: Raft::default(),
            synced: Raft::default(),
            unsynced: Vec::new(),
            data: Rows::new(shards),
            durable: Rows::new(shards),
            undurable: Vec::new(),
        }
    }

    /// One write of `raft/`, which a crash leaves whole or not at all; synced where its content asks for it.
    pub fn write_raft(&mut self, ops: Vec<Op>, require_sync: bool) {
        let mut sync = require_sync;
        for op in &ops {
            sync |= op.must_sync(&self.raft);
            self.raft.make(op);
        }
        self.unsynced.push(ops);
        if sync {
            self.sync_raft(usize::MAX);
        }
    }

    fn sync_raft(&mut self, batches: usize) {
        let batches = batches.min(self.unsynced.len());
        for op in self.unsynced.drain(..batches).flatten() {
            self.synced.make(&op);
        }
    }

    /// One write of `data/`, which a crash leaves whole or not at all.
    pub fn write_data(&mut self, writes: Vec<Write>) {
        self.data.write(&writes);
        self.undurable.push(writes);
    }

    /// One write of `data/`, synced; all before it are then too.
    pub fn write_data_synced(&mut self, writes: Vec<Write>) {
        self.write_data(writes);
        self.flush(usize::MAX);
    }

    /// Writes of `data/` that a flush would make durable now.
    pub fn unflushed(&self) -> usize {
        self.undurable.len()
    }

    /// Makes the oldest writes durable.
    pub fn flush(&mut self, writes: usize) {
        let writes = writes.min(self.undurable.len());
        for batch in self.undurable.drain(..writes) {
            self.durable.write(&batch);
        }
    }

    /// How far the shard's state would have come behind a power cut.
    pub fn durable_index(&self, shard: ShardId) -> u64 {
        shard::load(self.durable.view(), shard).ok().flatten().map_or(0, |state| state.applied_index)
    }

    /// The power goes: of what was not synced a part may be there, in its order, and what comes next is torn. Says whether
    /// anything of `raft/`, and of `data/`, was lost.
    pub fn cut_power(&mut self, rng: &mut Rng) -> (bool, bool) {
        let kept = rng.between(0, self.unsynced.len() as u64 + 1) as usize;
        self.sync_raft(kept);
        let raft_lost = !self.unsynced.is_empty();
        self.unsynced.clear();
        self.raft = self.synced.clone();
        let kept = rng.between(0, self.undurable.len() as u64 + 1) as usize;
        self.flush(kept);
        let data_lost = !self.undurable.is_empty();
        self.undurable.clear();
        self.data = self.durable.clone();
        (raft_lost, data_lost)
    }

    /// Removes all rows of a shard, its state and its marker, as the engine does it.
    pub fn empty_shard(&mut self, id: ShardId) {
        let mut writes = self.rows_of(id);
        writes.push(Write::Delete { key: row::shard_key(id) });
        writes.push(Write::Delete { key: row::installing_key(id) });
        self.write_data_synced(writes);
    }

    /// Begins an install: the marker is there, the rows and the state are gone.
    pub fn begin_install(&mut self, id: ShardId) {
        let mut writes = self.rows_of(id);
        writes.push(Write::Put { key: row::installing_key(id), value: bytes::Bytes::from_static(b"!") });
        writes.push(Write::Delete { key: row::shard_key(id) });
        self.write_data_synced(writes);
    }

    fn rows_of(&self, id: ShardId) -> Vec<Write> {
        let state = shard::load(self.data.view(), id).expect("a state that can be read");
        let slots = state.as_ref().map_or(self.slots(id), shard::range);
        let ranges = ranges(id, slots).into_iter().filter(|range| range.start < range.end);
        ranges.map(|range| Write::DeleteRange { start: range.start, end: range.end }).collect()
    }

    /// Where a shard without a state may have left rows: its marker says so in the engine.
    fn slots(&self, id: ShardId) -> SlotRange {
        self.data.slots(id)
    }

    /// All rows of a shard with its state, from one view.
    pub fn export(&self, id: ShardId) -> Option<(ShardState, Vec<Write>)> {
        let view = self.data.view();
        let state = shard::load(view, id).expect("a state that can be read")?;
        let rows = ranges(id, shard::range(&state)).iter().flat_map(|range| scan(view, range)).collect::<Vec<_>>();
        Some((state, rows.into_iter().map(|(key, value)| Write::Put { key, value }).collect()))
    }

    /// Reads everything and finishes what a crash has cut off, in the order in which the node's recovery does it.
    pub fn recover(&mut self, memory_entries: usize) -> Vec<Found> {
        for (key, _) in scan(self.data.view(), &row::installing_range()) {
            let shard = row::decode_shard_key(&key).expect("a key of a marker");
            self.empty_shard(shard);
        }
        let mut repairs = Vec::new();
        let named = |records: &BTreeMap<ShardId, ReplicaRecord>, log: &LogId| {
            records.get(&log.0).is_some_and(|record| record.replica_id == log.1.0)
        };
        let orphans = self.raft.logs.keys().filter(|log| !named(&self.raft.records, log));
        repairs.extend(orphans.map(|log| Op::Delete(*log)));
        let mut found = Vec::new();
        let mut records = self.raft.records.clone();
        for (shard, record) in &mut records {
            let log = (*shard, ReplicaId(record.replica_id));
            if record.destroying {
                self.empty_shard(*shard);
                repairs.push(Op::Delete(log));
                *record = tombstone(record);
                repairs.push(Op::Record(*record));
            }
            if record.replica_id != 0 {
                found.push(self.restart(log, memory_entries, &mut repairs));
            }
        }
        for (key, _) in scan(self.data.view(), &row::shards_range()) {
            let shard = row::decode_shard_key(&key).expect("a key of a state");
            if records.get(&shard).is_none_or(|record| record.replica_id == 0) {
                self.empty_shard(shard);
            }
        }
        if !repairs.is_empty() {
            self.write_raft(repairs, true);
        }
        found
    }

    fn restart(&mut self, id: LogId, memory_entries: usize, repairs: &mut Vec<Op>) -> Found {
        let state = shard::load(self.data.view(), id.0).expect("a state that can be read");
        let mut applied = state.as_ref().map_or(0, |state| state.applied_index);
        let mut log = self.raft.logs.get(&id).cloned().unwrap_or_default();
        let (last, term_at_applied) = (log.last(), log.term_at(applied));
        let on_disk = LogFound { hard_state: log.hard_state, truncated: log.truncated, last, term_at_applied };
        let fit = fit(state.as_ref(), &on_disk);
        match fit {
            Fit::Whole => {}
            Fit::LogAnew { at, hard_state } => {
                repairs.push(Op::Restart(id, at, hard_state));
                log = Log { hard_state, truncated: at, entries: BTreeMap::new() };
            }
            Fit::DataLost => {
                self.empty_shard(id.0);
                applied = log.truncated.index;
            }
        }
        let data_lost = fit == Fit::DataLost;
        let state = state.filter(|_| !data_lost);
        let mut terms: Vec<Position> = Vec::new();
        for entry in log.entries.values() {
            if terms.last().is_none_or(|run| run.term != entry.term) {
                terms.push(Position { index: entry.index, term: entry.term });
            }
        }
        let last_index = log.last().index;
        let tail = (last_index + 1).saturating_sub(memory_entries as u64).min(applied + 1);
        let recovered = Recovered {
            hard_state: log.hard_state,
            truncated: log.truncated,
            terms,
            last_index,
            entries: log.entries.range(tail..).map(|(_, entry)| entry.clone()).collect(),
            applied,
            conf_state: state.as_ref().and_then(|state| state.conf_state.clone()).unwrap_or_default(),
            group: state.as_ref().and_then(|state| state.group.clone()).unwrap_or_default(),
            data_lost,
        };
        Found { log: id, recovered, state }
    }
}

/// How much log is kept, from almost none to roomy.
pub fn retention(rng: &mut Rng) -> Retention {
    let entries = *rng.pick(&[1, 10, 100, 2_000]);
    Retention {
        entries,
        bytes: *rng.pick(&[1, 2_000, 1 << 20]),
        entries_for_followers: entries * *rng.pick(&[1, 3]),
        bytes_for_followers: *rng.pick(&[1_000, 1 << 20]),
    }
}
