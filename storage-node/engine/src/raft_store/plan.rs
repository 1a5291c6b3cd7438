//! Turns a [`LogBatch`] into rows to put and delete, given how far each log reaches. Decides, does no IO.
//!
//! The store itself knows where each log ends: a caller that is wrong about it is refused before anything is written,
//! and can leave no old tail and no hole behind (HAZARDS H8).

use std::collections::HashMap;

use granary_common::log::{Entry, Position};
use granary_proto::storage::ReplicaRecord;
use prost::Message as _;
use rocksdb::WriteBatch;

use super::{
    LogId, LogState, MAX_PURGED,
    batch::{LogBatch, Operation},
    rows,
};
use crate::{EngineError, StoreKind};

/// How far a log reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) state: LogState,
    /// Index of the last entry; that of `state.truncated` when there is none.
    pub(crate) last: u64,
    /// Entries up to this one are gone from the disk too; at most `state.truncated.index`.
    pub(crate) purged: u64,
}

impl Extent {
    /// A log without entries behind `truncated`.
    pub(crate) fn empty(state: LogState) -> Self {
        Self { state, last: state.truncated.index, purged: state.truncated.index }
    }
}

/// What a batch does.
pub(crate) struct Plan {
    pub(crate) rows: WriteBatch,
    pub(crate) must_sync: bool,
    /// The logs that change; `None`: gone.
    pub(crate) logs: HashMap<LogId, Option<Extent>>,
}

/// Plans `batch` on top of `logs`.
pub(crate) fn plan(batch: LogBatch, logs: &HashMap<LogId, Extent>) -> Result<Plan, EngineError> {
    let plan = Plan { rows: WriteBatch::default(), must_sync: batch.must_sync, logs: HashMap::new() };
    let mut planner = Planner { known: logs, plan };
    for operation in batch.operations {
        planner.add(operation)?;
    }
    Ok(planner.finish())
}

struct Planner<'a> {
    known: &'a HashMap<LogId, Extent>,
    plan: Plan,
}

impl Planner<'_> {
    fn add(&mut self, operation: Operation) -> Result<(), EngineError> {
        match operation {
            Operation::Append { log, entries } => self.append(log, &entries),
            Operation::HardState { log, hard_state } => {
                let mut extent = self.extent(log);
                let before = std::mem::replace(&mut extent.state.hard_state, hard_state);
                self.plan.must_sync |= (before.term, before.vote) != (hard_state.term, hard_state.vote);
                self.set(log, extent);
                Ok(())
            }
            Operation::Truncate { log, to } => self.truncate(log, to),
            Operation::Restart { log, at, hard_state } => {
                self.delete_entries(log);
                self.set(log, Extent::empty(LogState { hard_state, truncated: at }));
                Ok(())
            }
            Operation::Delete { log } => {
                self.delete_entries(log);
                self.plan.logs.insert(log, None);
                Ok(())
            }
            Operation::Record(record) => {
                self.put_record(&record);
                Ok(())
            }
            Operation::Map(map) => {
                let key = [rows::MAP];
                self.plan.rows.put(key, rows::seal(&key, map.into()));
                Ok(())
            }
            Operation::Incarnation { node, incarnation } => {
                let key = rows::incarnation_key(node);
                self.plan.rows.put(key, rows::seal(&key, incarnation.to_le_bytes().to_vec()));
                Ok(())
            }
        }
    }

    fn append(&mut self, log: LogId, entries: &[Entry]) -> Result<(), EngineError> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        let mut extent = self.extent(log);
        let (lowest, highest) = (extent.state.truncated.index + 1, extent.last + 1);
        if first.index < lowest || first.index > highest {
            return Err(refused(format!("append at {} to {log}, allowed is {lowest} to {highest}", first.index)));
        }
        for (entry, index) in entries.iter().zip(first.index..) {
            if entry.index != index {
                return Err(refused(format!("append to {log} with entry {} where {index} must be", entry.index)));
            }
            let key = rows::entry_key(log, index);
            self.plan.rows.put(key, rows::encode_entry(&key, entry));
        }
        for stale in last.index + 1..=extent.last {
            self.plan.rows.delete(rows::entry_key(log, stale));
        }
        extent.last = last.index;
        self.set(log, extent);
        Ok(())
    }

    fn truncate(&mut self, log: LogId, to: Position) -> Result<(), EngineError> {
        let mut extent = self.extent(log);
        if to.index > extent.last {
            return Err(refused(format!("purge of {log} up to {}, its last entry is {}", to.index, extent.last)));
        }
        if to.index > extent.state.truncated.index {
            extent.state.truncated = to;
        }
        let end = extent.state.truncated.index.min(extent.purged + MAX_PURGED);
        // Point deletes: a range tombstone a purge would slow down every later read of the log (HAZARDS, table).
        for index in extent.purged + 1..=end {
            self.plan.rows.delete(rows::entry_key(log, index));
        }
        extent.purged = end;
        self.set(log, extent);
        Ok(())
    }

    /// All entries of a log, with one tombstone: rare, and nothing is read there again before it is compacted away.
    fn delete_entries(&mut self, log: LogId) {
        let [start, end] = [0, u64::MAX].map(|index| rows::entry_key(log, index));
        self.plan.rows.delete_range(start, end);
    }

    fn put_record(&mut self, record: &ReplicaRecord) {
        let key = rows::record_key(record.shard_id.into());
        self.plan.rows.put(key, rows::seal(&key, record.encode_to_vec()));
    }

    fn extent(&self, log: LogId) -> Extent {
        let planned = self.plan.logs.get(&log).copied();
        planned.unwrap_or_else(|| self.known.get(&log).copied()).unwrap_or_default()
    }

    fn set(&mut self, log: LogId, extent: Extent) {
        self.plan.logs.insert(log, Some(extent));
    }

    /// The state rows come last, one a log however often it changed.
    fn finish(mut self) -> Plan {
        for (log, extent) in &self.plan.logs {
            let key = rows::log_state_key(*log);
            match extent {
                None => self.plan.rows.delete(key),
                Some(extent) if self.known.get(log).is_none_or(|known| known.state != extent.state) => {
                    self.plan.rows.put(key, rows::encode_log_state(&key, &extent.state));
                }
                Some(_) => {}
            }
        }
        self.plan
    }
}

fn refused(why: String) -> EngineError {
    EngineError::Refused { store: StoreKind::Raft, why }
}
