//! `raft/`: the logs, votes and commit indexes of all shards of a node, the record of each replica, the node's copy of
//! the cluster map and the highest incarnation seen of each peer.
//!
//! One writer collects a [`LogBatch`] and writes it with at most one sync. It must not know what an entry means, nor any
//! rule of Raft beyond "what is appended replaces what was there".

mod batch;
mod check;
mod loss;
mod plan;
mod recovery;
mod rows;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use granary_proto::storage::Identity;
use parking_lot::Mutex;
use rocksdb::{DB, WriteOptions};

pub use batch::LogBatch;
pub use recovery::{Recovered, RecoveredLog, RecoveredReplica, TailLimits};
pub use rows::{LogId, LogState};

use crate::{
    EngineError, EngineOptions, FileError, StoreKind, header,
    options::{self, Open},
    poison::Poison,
    watermark::Watermark,
};

/// Most rows that one purge of a log deletes in one batch.
pub const MAX_PURGED: u64 = 8192;

/// See the module.
pub struct RaftStore {
    db: DB,
    poison: Poison,
    synced: Watermark,
    /// How far each log reaches, as on disk. Held through a write, so that batches are planned one behind the other.
    logs: Mutex<HashMap<LogId, plan::Extent>>,
    syncs: AtomicU64,
    bytes_written: AtomicU64,
}

impl RaftStore {
    /// Makes the store in `path`, where none may be, for the node `identity`; synced.
    pub(crate) fn create(path: &Path, identity: &Identity, options: &EngineOptions) -> Result<Self, EngineError> {
        let db = options::open(StoreKind::Raft, path, &options.raft(), Open::Create)?;
        db.put_opt([rows::HEADER], header::encode(StoreKind::Raft, identity), &options::synced())
            .map_err(EngineError::rocksdb(StoreKind::Raft, "write the header"))?;
        Self::over(path, db, Open::Create)
    }

    /// Opens the store in `path`, which must be there and belong to `identity`.
    pub(crate) fn open(path: &Path, identity: &Identity, options: &EngineOptions) -> Result<Self, EngineError> {
        loss::refuse_noted(path)?;
        let db = open_existing(path, options)?;
        let found = db.get([rows::HEADER]).map_err(EngineError::rocksdb(StoreKind::Raft, "read the header"))?;
        header::check(StoreKind::Raft, found.as_deref(), identity)?;
        Self::over(path, db, Open::Existing)
    }

    fn over(path: &Path, db: DB, how: Open) -> Result<Self, EngineError> {
        let (synced, mark) = Watermark::open(path).map_err(|error| cannot_note(&error))?;
        let last = db.latest_sequence_number();
        match (how, mark) {
            // The mark may be from a store before, which was never finished.
            (Open::Create, _) => {
                synced.raise(last).and_then(|()| synced.sync()).map_err(|error| cannot_note(&error))?;
            }
            (Open::Existing, Some(mark)) if last < mark => {
                return Err(EngineError::corrupt(StoreKind::Raft, lost_its_end(last, mark)));
            }
            (Open::Existing, _) => {}
        }
        recovery::refuse_unknown_kinds(&db)?;
        let logs = Mutex::new(recovery::load_extents(&db)?);
        let poison = Poison::new(StoreKind::Raft);
        Ok(Self { db, poison, synced, logs, syncs: AtomicU64::new(0), bytes_written: AtomicU64::new(0) })
    }

    /// Notes the number of this node's start, synced: so that an older copy of the store, which has forgotten votes, shows.
    pub(crate) fn note_start(&self, incarnation: u64) -> Result<(), EngineError> {
        let mut batch = LogBatch::new();
        batch.put_incarnation(rows::OWN_START, incarnation);
        self.write(batch)
    }

    /// The start that was noted last.
    pub(crate) fn last_start(&self) -> Result<Option<u64>, EngineError> {
        let key = rows::incarnation_key(rows::OWN_START);
        let found = self.db.get(key).map_err(EngineError::rocksdb(StoreKind::Raft, "read the last start"))?;
        found.map(|value| rows::decode_u64(&key, &value)).transpose()
    }

    /// Writes the batch as one, with one sync when anything in it needs one. On [`EngineError::Refused`] nothing was
    /// written; any other error poisons the store: every later call fails.
    pub fn write(&self, batch: LogBatch) -> Result<(), EngineError> {
        self.poison.check()?;
        if batch.is_empty() && !batch.must_sync {
            return Ok(());
        }
        let mut logs = self.logs.lock();
        let plan = plan::plan(batch, &logs)?;
        let bytes = plan.rows.size_in_bytes() as u64;
        let mut options = WriteOptions::default();
        options.set_sync(plan.must_sync);
        self.poison.guard("write", || self.db.write_opt(plan.rows, &options))?;
        for (log, extent) in plan.logs {
            match extent {
                Some(extent) => logs.insert(log, extent),
                None => logs.remove(&log),
            };
        }
        self.bytes_written.fetch_add(bytes, Relaxed);
        if plan.must_sync {
            self.syncs.fetch_add(1, Relaxed);
            let last = self.db.latest_sequence_number();
            self.synced.raise(last).map_err(|error| self.poison.fail(cannot_note(&error)))?;
        }
        Ok(())
    }

    /// Makes the mark of what is synced durable: to be called now and then, so that a store that was cut off shows behind a
    /// power cut too.
    pub fn sync_watermark(&self) -> Result<(), EngineError> {
        self.poison.check()?;
        self.synced.sync().map_err(|error| self.poison.fail(cannot_note(&error)))
    }

    /// Synced writes since the store was opened.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Relaxed)
    }

    /// Bytes of all batches written since the store was opened.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Relaxed)
    }

    /// Bytes of the tables on disk, with dead rows.
    pub fn table_bytes(&self) -> u64 {
        self.db.property_int_value("rocksdb.total-sst-files-size").ok().flatten().unwrap_or(0)
    }

    /// Merges all tables, so that the space of dead rows is given back. Takes as much room as the living rows meanwhile;
    /// slow, and changes nothing that can be read.
    pub fn compact(&self) {
        self.db.compact_range::<&[u8], &[u8]>(None, None);
    }

    /// Makes the next write fail.
    #[cfg(test)]
    pub(crate) fn fail_next_write(&self) {
        self.poison.fail_next();
    }
}

/// Opens what is there. A power cut may leave any part of what was not synced, also its end without its beginning: then
/// the log does not end in a record that is too short, as RocksDB expects it, but in one that is wrong. Such a log ends
/// before that record, if the mark shows that nothing behind it was synced; without a mark the store does not open.
fn open_existing(path: &Path, options: &EngineOptions) -> Result<DB, EngineError> {
    let opened = options::open(StoreKind::Raft, path, &options.raft(), Open::Existing);
    let Err(EngineError::RocksDb { message, .. }) = &opened else { return opened };
    let (_, mark) = Watermark::open(path).map_err(|error| cannot_note(&error))?;
    let Some(mark) = mark.filter(|_| message.contains("Corruption:")) else { return opened };
    // A look that changes nothing, since what is there may be all that is left. If it fails, it is not the log.
    let Ok(look) = DB::open_for_read_only(&options.raft_before_damage(), path, false) else { return opened };
    let last = look.latest_sequence_number();
    drop(look);
    if last < mark {
        return Err(EngineError::corrupt(StoreKind::Raft, format!("{message}; {}", lost_its_end(last, mark))));
    }
    tracing::warn!(message, last, "a record of raft/ that was not synced is wrong: the log ends before it");
    options::open(StoreKind::Raft, path, &options.raft_before_damage(), Open::Existing)
}

fn lost_its_end(last: u64, mark: u64) -> String {
    format!(
        "its last write is number {last}, and number {mark} was synced: its end is lost, or it is an older copy, without \
         votes or entries that others count on. Give the node an empty disk"
    )
}

fn cannot_note(error: &FileError) -> EngineError {
    EngineError::RocksDb { store: StoreKind::Raft, action: "note what is synced", message: error.to_string() }
}
