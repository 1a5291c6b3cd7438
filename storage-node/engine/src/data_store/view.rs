//! The stored rows as the state machines see them.

use std::ops::ControlFlow;

use bytes::Bytes;
use granary_machine::{View, ViewError};
use rocksdb::{ReadOptions, Snapshot};

use super::DataStore;
use crate::{EngineError, StoreKind};

/// What a scan calls with each row.
type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// The rows as they are at each call: for whoever writes them, and nobody else does.
pub struct LiveView<'a> {
    store: &'a DataStore,
}

impl<'a> LiveView<'a> {
    pub(super) fn new(store: &'a DataStore) -> Self {
        Self { store }
    }
}

impl View for LiveView<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        get(self.store, key, &ReadOptions::default())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ViewError> {
        scan(self.store, from, to, ReadOptions::default(), visit)
    }
}

/// The rows as they were when it was made. It keeps old versions of rows on disk as long as it lives.
pub struct SnapshotView<'a> {
    store: &'a DataStore,
    snapshot: Snapshot<'a>,
}

impl<'a> SnapshotView<'a> {
    pub(super) fn new(store: &'a DataStore) -> Self {
        Self { store, snapshot: store.db.snapshot() }
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        options
    }

    /// As [`View::scan`], without filling the block cache: for whoever reads a whole shard once.
    pub(crate) fn scan_once(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), ViewError> {
        let mut options = self.options();
        options.fill_cache(false);
        options.set_readahead_size(1 << 20);
        scan(self.store, from, to, options, visit)
    }
}

impl View for SnapshotView<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        get(self.store, key, &self.options())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ViewError> {
        scan(self.store, from, to, self.options(), visit)
    }
}

fn get(store: &DataStore, key: &[u8], options: &ReadOptions) -> Result<Option<Bytes>, ViewError> {
    store.db.get_opt(key, options).map(|value| value.map(Bytes::from)).map_err(|error| store.unreadable(error))
}

fn scan(
    store: &DataStore,
    from: &[u8],
    to: &[u8],
    mut options: ReadOptions,
    visit: &mut Visit<'_>,
) -> Result<(), ViewError> {
    if from >= to {
        return Ok(());
    }
    options.set_iterate_upper_bound(to);
    let mut iterator = store.db.raw_iterator_opt(options);
    iterator.seek(from);
    while let Some((key, value)) = iterator.item() {
        if visit(key, value).is_break() {
            return Ok(());
        }
        iterator.next();
    }
    iterator.status().map_err(|error| store.unreadable(error))
}

impl From<ViewError> for EngineError {
    /// For calls within this crate, whose views are always of `data/`.
    fn from(error: ViewError) -> Self {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        Self::corrupt(StoreKind::Data, source.unwrap_or_else(|| error.to_string()))
    }
}
