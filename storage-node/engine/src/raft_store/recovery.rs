//! Reading `raft/`: what is there at start, each log checked for holes from its first entry to its last, and old entries
//! for a slow follower.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use granary_common::{
    NodeId, ReplicaId,
    log::{Entry, HardState, Position},
};
use granary_proto::storage::ReplicaRecord;
use rocksdb::{DB, DBRawIterator, ReadOptions};

use super::{LogId, LogState, RaftStore, plan::Extent, rows};
use crate::{EngineError, StoreKind};

/// All that is in the store but the entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// What this node knows of its replica of each shard, in order of shard.
    pub replicas: Vec<RecoveredReplica>,
    /// Logs that no record names: their replica is gone, and its destruction was cut off.
    pub orphans: Vec<LogId>,
    /// The encoded copy of the cluster map.
    pub map: Option<Bytes>,
    /// Highest incarnation seen of each peer.
    pub incarnations: BTreeMap<NodeId, u64>,
}

/// A shard's record, with the state of its replica's log when there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct RecoveredReplica {
    /// The record.
    pub record: ReplicaRecord,
    /// State of the log of the record's replica.
    pub log: Option<LogState>,
}

/// How much of the log at and below the applied index is loaded for slow followers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailLimits {
    /// Most entries.
    pub entries: usize,
    /// Most bytes, by [`Entry::weight`].
    pub bytes: usize,
}

/// A log at start, without holes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredLog {
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// The last entry that is no longer there.
    pub truncated: Position,
    /// The first entry of each run of entries of one term, ascending.
    pub terms: Vec<Position>,
    /// The last entry; `truncated` when there is none.
    pub last: Position,
    /// All entries above the applied index, and a bounded run of those right below it.
    pub entries: Vec<Entry>,
}

impl RecoveredLog {
    /// Term of the entry at `index`; `None` where the log does not reach, or does not any more.
    pub fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.truncated.index {
            return Some(self.truncated.term);
        }
        let within = index > self.truncated.index && index <= self.last.index;
        let run = self.terms.iter().rev().find(|run| run.index <= index).filter(|_| within);
        run.map(|run| run.term)
    }
}

impl RaftStore {
    /// Reads everything but the entries.
    pub fn recover(&self) -> Result<Recovered, EngineError> {
        self.poison.check()?;
        let mut recovered = Recovered::default();
        let mut logs: HashMap<LogId, LogState> =
            self.logs.lock().iter().map(|(log, extent)| (*log, extent.state)).collect();
        scan(&self.db, &[rows::RECORD], &[rows::RECORD + 1], |key, value| {
            let shard = rows::parse_record_key(key)?;
            let record: ReplicaRecord = rows::decode_message(key, value)?;
            let log = logs.remove(&LogId { shard, replica: ReplicaId(record.replica_id) });
            recovered.replicas.push(RecoveredReplica { record, log });
            Ok(true)
        })?;
        recovered.orphans = logs.into_keys().collect();
        recovered.orphans.sort_unstable();
        scan(&self.db, &[rows::MAP], &[rows::MAP + 1], |key, value| {
            recovered.map = Some(Bytes::copy_from_slice(rows::unseal(key, value)?));
            Ok(true)
        })?;
        scan(&self.db, &[rows::INCARNATION], &[rows::INCARNATION + 1], |key, value| {
            let node = rows::parse_incarnation_key(key)?;
            if node != rows::OWN_START {
                recovered.incarnations.insert(node, rows::decode_u64(key, value)?);
            }
            Ok(true)
        })?;
        Ok(recovered)
    }

    /// Reads a whole log once: checks each entry and that none is missing, and keeps the term boundaries, the entries
    /// above `applied_index` and the `tail` below. A log that was never written is empty.
    pub fn recover_log(&self, log: LogId, applied_index: u64, tail: TailLimits) -> Result<RecoveredLog, EngineError> {
        self.poison.check()?;
        let Some(extent) = self.logs.lock().get(&log).copied() else { return Ok(RecoveredLog::default()) };
        let LogState { hard_state, truncated } = extent.state;
        let mut terms: Vec<Position> = Vec::new();
        let mut last = truncated;
        let mut kept = Tail { limits: tail, applied_index, entries: VecDeque::new(), below: 0, below_bytes: 0 };
        self.for_each_entry(log, truncated.index + 1, u64::MAX, |entry| {
            last = Position { index: entry.index, term: entry.term };
            if terms.last().is_none_or(|run| run.term != entry.term) {
                terms.push(last);
            }
            kept.push(entry);
            Ok(true)
        })?;
        if last.index != extent.last {
            return Err(hole(log, last.index + 1));
        }
        Ok(RecoveredLog { hard_state, truncated, terms, last, entries: kept.entries.into() })
    }

    /// Entries `low..high`, at least one, and then as many as weigh at most `max_bytes` together. `low < high`, and
    /// `high` at most one behind the last entry.
    pub fn fetch(&self, log: LogId, low: u64, high: u64, max_bytes: usize) -> Result<Vec<Entry>, EngineError> {
        self.poison.check()?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0usize;
        let read = self.for_each_entry(log, low, high, |entry| {
            bytes = bytes.saturating_add(entry.weight());
            if bytes > max_bytes && !entries.is_empty() {
                return Ok(false);
            }
            entries.push(entry);
            Ok(true)
        });
        // The log may have been purged meanwhile: then what is missing is no hole. The state is read after the entries,
        // so it is at least as new.
        // A log that is gone was purged whole.
        let truncated = self.logs.lock().get(&log).map_or(low, |extent| extent.state.truncated.index);
        if low <= truncated {
            return Err(EngineError::Purged { shard: log.shard, replica: log.replica, index: low, truncated });
        }
        read?;
        if entries.is_empty() {
            return Err(hole(log, low));
        }
        Ok(entries)
    }

    /// Calls `each` with the entries from `low` to below `high` (or the log's end) until it says `false`. An entry that
    /// is not where it must be is a hole.
    fn for_each_entry(
        &self,
        log: LogId,
        low: u64,
        high: u64,
        mut each: impl FnMut(Entry) -> Result<bool, EngineError>,
    ) -> Result<(), EngineError> {
        let mut next = low;
        scan(&self.db, &rows::entry_key(log, low), &rows::entry_key(log, high), |key, value| {
            let (_, index) = rows::parse_entry_key(key)?;
            if index != next {
                return Err(hole(log, next));
            }
            next += 1;
            each(rows::decode_entry(key, index, value)?)
        })
    }
}

/// Collects entries so that those at or below the applied index stay within the limits.
struct Tail {
    limits: TailLimits,
    applied_index: u64,
    entries: VecDeque<Entry>,
    below: usize,
    below_bytes: usize,
}

impl Tail {
    fn push(&mut self, entry: Entry) {
        if entry.index <= self.applied_index {
            self.below += 1;
            self.below_bytes += entry.weight();
        }
        self.entries.push_back(entry);
        while self.below > self.limits.entries || self.below_bytes > self.limits.bytes {
            let Some(dropped) = self.entries.pop_front() else { return };
            self.below -= 1;
            self.below_bytes -= dropped.weight();
        }
    }
}

/// Refuses a store with a row of a kind that this build does not know.
pub(super) fn refuse_unknown_kinds(db: &DB) -> Result<(), EngineError> {
    let mut iterator = db.raw_iterator();
    for (from, to) in [(&[][..], &[rows::HEADER][..]), (&[rows::UNKNOWN][..], &[][..])] {
        iterator.seek(from);
        if let Some(key) = iterator.key()
            && (to.is_empty() || key < to)
        {
            return Err(EngineError::Unknown {
                store: StoreKind::Raft,
                what: format!("a row with the key {key:02x?}"),
            });
        }
        iterator.status().map_err(EngineError::rocksdb(StoreKind::Raft, "read"))?;
    }
    Ok(())
}

/// Finds how far each log reaches. Entries without a log state are damage: the state is written with the first of them.
pub(super) fn load_extents(db: &DB) -> Result<HashMap<LogId, Extent>, EngineError> {
    let mut extents = HashMap::new();
    scan(db, &[rows::LOG_STATE], &[rows::LOG_STATE + 1], |key, value| {
        extents.insert(rows::parse_log_state_key(key)?, Extent::empty(rows::decode_log_state(key, value)?));
        Ok(true)
    })?;
    let mut iterator = db.raw_iterator();
    iterator.seek([rows::ENTRY]);
    while let Some((log, first)) = entry_at(&iterator)? {
        let Some(extent) = extents.get_mut(&log) else {
            return Err(EngineError::corrupt(StoreKind::Raft, format!("entries of {log}, but no state of its log")));
        };
        iterator.seek_for_prev(rows::entry_key(log, u64::MAX));
        let last = entry_at(&iterator)?.map_or(first, |(_, last)| last);
        let truncated = extent.state.truncated.index;
        // A purge that was not finished left entries below the log's begin.
        extent.purged = truncated.min(first.saturating_sub(1));
        extent.last = truncated.max(last);
        iterator.seek(rows::entry_key(log, u64::MAX));
    }
    Ok(extents)
}

/// The entry at which the iterator stands; `None` behind the last.
fn entry_at(iterator: &DBRawIterator<'_>) -> Result<Option<(LogId, u64)>, EngineError> {
    iterator.status().map_err(EngineError::rocksdb(StoreKind::Raft, "read"))?;
    match iterator.key() {
        Some(key) if key.first() == Some(&rows::ENTRY) => rows::parse_entry_key(key).map(Some),
        _ => Ok(None),
    }
}

/// Calls `each` with the rows from `start` to below `end` until it says `false`.
fn scan(
    db: &DB,
    start: &[u8],
    end: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, EngineError>,
) -> Result<(), EngineError> {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(end);
    let mut iterator = db.raw_iterator_opt(options);
    iterator.seek(start);
    while let Some((key, value)) = iterator.item() {
        if !each(key, value)? {
            return Ok(());
        }
        iterator.next();
    }
    iterator.status().map_err(EngineError::rocksdb(StoreKind::Raft, "read"))
}

fn hole(log: LogId, index: u64) -> EngineError {
    EngineError::Hole { shard: log.shard, replica: log.replica, index }
}
