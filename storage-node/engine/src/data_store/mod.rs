//! `data/`: the rows of all state machines of a node. What is written here is not synced write by write: what a power
//! cut takes is applied again from the log, which is kept until [`DataStore::flush_wal`] has made the rows durable.
//!
//! It must not know what a row means beyond its key, nor anything of Raft.

mod check;
mod hash;
mod holes;
mod manifest;
mod shard_rows;
#[cfg(test)]
mod tests;
mod view;

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use granary_machine::{
    ViewError, Write,
    rows::{self, Kind},
};
use granary_proto::storage::Identity;
use manifest::Manifest;
use parking_lot::Mutex;
use rocksdb::{DB, Options, WriteBatch, WriteOptions};

pub use check::Checked;
pub use hash::ReplicaHash;
pub use shard_rows::Interrupted;
#[cfg(test)]
pub(crate) use shard_rows::most;
pub(crate) use shard_rows::{row_ranges, state_in};
pub use view::{LiveView, SnapshotView};

use crate::{
    EngineError, EngineOptions, StoreKind,
    damage::{Damage, is_damage, met_by_a_merge},
    header,
    options::{self, Open},
    poison::Poison,
};

const HEADER: &str = "header";

/// See the module.
pub struct DataStore {
    db: DB,
    identity: Identity,
    poison: Poison,
    damage: Damage,
    manifest: Mutex<Manifest>,
    syncs: AtomicU64,
    bytes_written: AtomicU64,
    unsynced_bytes: AtomicU64,
}

impl DataStore {
    /// Makes the store in `path`, where none may be, for the node `identity`; synced.
    pub(crate) fn create(path: &Path, identity: &Identity, options: &EngineOptions) -> Result<Self, EngineError> {
        let db = options::open(StoreKind::Data, path, &options.data()?, Open::Create)?;
        db.put_opt(rows::store_key(HEADER), header::encode(StoreKind::Data, identity), &options::synced())
            .map_err(EngineError::rocksdb(StoreKind::Data, "write the header"))?;
        let store = Self::over(db, identity);
        store.note_tables()?;
        Ok(store)
    }

    /// Opens the store in `path`, which must be there and belong to `identity`.
    pub(crate) fn open(path: &Path, identity: &Identity, options: &EngineOptions) -> Result<Self, EngineError> {
        let db = open_existing(path, options.data()?)?;
        check_whose(&db, identity)?;
        let store = Self::over(db, identity);
        match store.note_tables() {
            // A full disk can be read.
            Err(error) if error.is_lack_of_room() => {
                tracing::warn!(%error, "the list of tables of data/ is not noted");
            }
            noted => noted?,
        }
        Ok(store)
    }

    /// As [`DataStore::open`], for a store that is known to be damaged: it merges no tables by itself, since that would
    /// fail at the damage, and no write is taken behind such a failure.
    pub(crate) fn open_at_rest(path: &Path, identity: &Identity, options: &EngineOptions) -> Result<Self, EngineError> {
        let mut at_rest = options.data()?;
        at_rest.set_disable_auto_compactions(true);
        let db = open_existing(path, at_rest)?;
        match check_whose(&db, identity) {
            // What `raft/` says of whose directory it is has to do.
            Err(EngineError::RocksDb { message, .. }) if is_damage(&message) => {
                tracing::warn!(message, "whose store it is cannot be read");
            }
            checked => checked?,
        }
        Ok(Self::over(db, identity))
    }

    fn over(db: DB, identity: &Identity) -> Self {
        Self {
            damage: Damage::of(db.path()),
            manifest: Mutex::new(Manifest::of(db.path())),
            db,
            identity: identity.clone(),
            poison: Poison::new(StoreKind::Data),
            syncs: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            unsynced_bytes: AtomicU64::new(0),
        }
    }

    /// Whose store it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The rows as they are at each call.
    pub fn view(&self) -> LiveView<'_> {
        LiveView::new(self)
    }

    /// The rows as they are now, whatever is written meanwhile.
    pub fn snapshot(&self) -> SnapshotView<'_> {
        SnapshotView::new(self)
    }

    /// Makes all writes at once, in their order. They are visible when it returns and durable after the next
    /// [`DataStore::flush_wal`] or synced write. Any failure poisons the store: every later call fails.
    pub fn write(&self, writes: &[Write]) -> Result<(), EngineError> {
        self.write_batch(to_batch(writes), false)
    }

    /// As [`DataStore::write`], and durable with everything before it when it returns.
    pub fn write_synced(&self, writes: &[Write]) -> Result<(), EngineError> {
        self.write_batch(to_batch(writes), true)
    }

    fn write_batch(&self, batch: WriteBatch, synced: bool) -> Result<(), EngineError> {
        let bytes = batch.size_in_bytes() as u64;
        let mut options = WriteOptions::default();
        options.set_sync(synced);
        self.guard("write", || self.db.write_opt(batch, &options))?;
        self.bytes_written.fetch_add(bytes, Relaxed);
        self.unsynced_bytes.fetch_add(bytes, Relaxed);
        if synced {
            self.syncs.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// Makes every write that returned before this call durable. An applied index that was read before it is *known
    /// durable* when this succeeds. A failure poisons the store; it is never tried again (HAZARDS H22).
    pub fn flush_wal(&self) -> Result<(), EngineError> {
        // Counted down before the sync: writes that come while it runs may not be covered by it.
        let covered = self.unsynced_bytes.load(Relaxed);
        self.guard("sync", || self.db.flush_wal(true))?;
        let _ = self.unsynced_bytes.fetch_update(Relaxed, Relaxed, |bytes| Some(bytes.saturating_sub(covered)));
        self.syncs.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Notes which tables there are, durably, if that has changed: what is noted cannot be lost without being missed at the
    /// next opening. To be called once in a while. The caller may go on without room for it, and behind no other failure.
    pub fn note_tables(&self) -> Result<(), EngineError> {
        self.manifest.lock().note().map_err(EngineError::file(StoreKind::Data, "note the tables of"))
    }

    /// What was found damaged since the opening: at first by a read, a check or a write that met it.
    pub fn damage(&self) -> Option<&str> {
        self.damage.found()
    }

    /// Remembers damage, and notes it for the next start. From now on no tables are merged: that would fail at the damage,
    /// and the store would take no more writes.
    pub(crate) fn remember_damage(&self, what: &str) {
        if self.damage.remember(what) {
            tracing::error!(what, "data/ is damaged: what it hits is not served from here any more");
            if let Err(error) = self.db.set_options(&[("disable_auto_compactions", "true")]) {
                tracing::warn!(%error, "merging of tables cannot be turned off");
            }
        }
    }

    fn guard(
        &self,
        action: &'static str,
        write: impl FnOnce() -> Result<(), rocksdb::Error>,
    ) -> Result<(), EngineError> {
        self.poison.guard(action, write).inspect_err(|error| {
            // A merge of tables that met damage fails every write behind it.
            if let EngineError::RocksDb { message, .. } = error
                && met_by_a_merge(message)
            {
                self.remember_damage(message);
            }
        })
    }

    /// An error of a read.
    fn unreadable(&self, error: rocksdb::Error) -> ViewError {
        if is_damage(error.as_ref()) {
            self.remember_damage(error.as_ref());
        }
        ViewError::new(EngineError::rocksdb(StoreKind::Data, "read")(error))
    }

    /// Bytes of all batches written since the last [`DataStore::flush_wal`] (or the opening): when it is worth another.
    pub fn bytes_since_flush(&self) -> u64 {
        self.unsynced_bytes.load(Relaxed)
    }

    /// Bytes of all batches written since the store was opened.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Relaxed)
    }

    /// Syncs since the store was opened.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Relaxed)
    }

    /// Bytes of the tables on disk, with dead rows.
    pub fn table_bytes(&self) -> u64 {
        self.db.property_int_value("rocksdb.total-sst-files-size").ok().flatten().unwrap_or(0)
    }

    /// Whether RocksDB takes no writes until it has merged more of what it has.
    pub fn stops_writes(&self) -> bool {
        self.db.property_int_value("rocksdb.is-write-stopped").ok().flatten().unwrap_or(0) > 0
    }

    /// Merges all tables, so that the space of dead rows is given back. Takes as much room as the living rows meanwhile;
    /// slow, and changes nothing that can be read.
    pub fn compact(&self) {
        self.db.compact_range::<&[u8], &[u8]>(None, None);
    }

    /// Makes the next write or sync fail.
    #[cfg(test)]
    pub(crate) fn fail_next_write(&self) {
        self.poison.fail_next();
    }
}

fn to_batch(writes: &[Write]) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for write in writes {
        match write {
            Write::Put { key, value } => batch.put(key, value),
            Write::Delete { key } => batch.delete(key),
            Write::DeleteRange { start, end } => batch.delete_range(start, end),
        }
    }
    batch
}

/// Opens what is there. RocksDB makes a log and removes the ones before it, and syncs neither; a power cut that left none
/// has taken unsynced writes only, since the sync of a log makes its name durable. With the check of logs it would be taken
/// for damage.
fn open_existing(path: &Path, mut options: Options) -> Result<DB, EngineError> {
    manifest::check(path)?;
    match open_without_holes(path, &options) {
        Err(EngineError::RocksDb { message, .. }) if message.contains("no WAL files") => {
            tracing::warn!("data/ has no log: what was not synced is gone");
            options = options
                .get_options_from_string("track_and_verify_wals=false")
                .map_err(EngineError::rocksdb(StoreKind::Data, "set options of"))?;
            options::open(StoreKind::Data, path, &options, Open::Existing)
        }
        opened => opened,
    }
}

/// A look tells which logs are still of use; without its word none is replayed.
fn open_without_holes(path: &Path, options: &Options) -> Result<DB, EngineError> {
    let failed = EngineError::rocksdb(StoreKind::Data, "open");
    let look = DB::open_for_read_only(options, path, false).map_err(failed)?;
    let first = look
        .property_int_value("rocksdb.min-log-number-to-keep")
        .map_err(EngineError::rocksdb(StoreKind::Data, "ask for the logs of"))?
        .ok_or_else(|| EngineError::corrupt(StoreKind::Data, "nothing is known of its logs"))?;
    drop(look);
    if let Some(cut) = holes::cut(path, first).map_err(EngineError::file(StoreKind::Data, "look at the logs of"))? {
        tracing::info!("data/ lost unsynced writes, which are applied again: {cut}");
    }
    options::open(StoreKind::Data, path, options, Open::Existing)
}

/// Refuses a store of another node, or with rows that this build does not know.
fn check_whose(db: &DB, identity: &Identity) -> Result<(), EngineError> {
    let found = db.get(rows::store_key(HEADER)).map_err(EngineError::rocksdb(StoreKind::Data, "read the header"))?;
    header::check(StoreKind::Data, found.as_deref(), identity)?;
    refuse_unknown_kinds(db)
}

/// Refuses a store with a row of a kind that this build does not know: a seek a kind.
fn refuse_unknown_kinds(db: &DB) -> Result<(), EngineError> {
    let mut iterator = db.raw_iterator();
    iterator.seek_to_first();
    while let Some(key) = iterator.key() {
        let kind: Kind =
            Kind::of(key).map_err(|error| EngineError::Unknown { store: StoreKind::Data, what: error.to_string() })?;
        iterator.seek([kind as u8 + 1]);
    }
    iterator.status().map_err(EngineError::rocksdb(StoreKind::Data, "read"))
}
