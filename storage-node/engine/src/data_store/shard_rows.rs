//! The rows of one shard as a whole: where they are, its state, its install marker, and emptying it.

use std::ops::ControlFlow;

use granary_common::{META_SHARD, ShardId, SlotRange};
use granary_machine::{
    View,
    rows::{self, KeyRange, Kind, RowError},
    shard,
};
use granary_proto::storage::ShardState;
use rocksdb::{Range, WriteBatch};

use super::DataStore;
use crate::{EngineError, StoreKind};

/// A shard whose install was cut off: its rows are neither the old nor the new ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// The shard.
    pub shard: ShardId,
    /// Where its old and its new rows may be.
    pub ranges: Vec<SlotRange>,
}

/// What was written, but no more than there is in tables and memory.
pub(crate) fn most(written: u64, tables: u64, memory: u64) -> u64 {
    written.min(tables.saturating_add(memory))
}

impl DataStore {
    /// The states of all shards this node has rows of, in order of shard.
    pub fn shard_states(&self) -> Result<Vec<ShardState>, EngineError> {
        self.collect(&rows::shards_range(), |key, value| {
            let state: ShardState = rows::decode_message(Kind::Shard, value.to_vec().into())?;
            match rows::decode_shard_key(key)? {
                shard if shard.0 == state.shard_id => Ok(state),
                _ => Err(RowError::BadKey { kind: Kind::Shard, length: key.len() }),
            }
        })
    }

    /// The state of one shard.
    pub fn shard_state(&self, shard: ShardId) -> Result<Option<ShardState>, EngineError> {
        state_in(&self.view(), shard)
    }

    /// The shards whose install was cut off, in order of shard: to be emptied with [`DataStore::empty_shard`] before
    /// anything else, and asked for again.
    pub fn interrupted_installs(&self) -> Result<Vec<Interrupted>, EngineError> {
        self.collect(&rows::installing_range(), |key, value| {
            Ok(Interrupted { shard: rows::decode_shard_key(key)?, ranges: decode_ranges(value) })
        })
    }

    /// Removes all rows of a shard, its state and its install marker, in one synced batch.
    pub fn empty_shard(&self, shard: ShardId) -> Result<(), EngineError> {
        let mut ranges: Vec<SlotRange> = self.shard_state(shard)?.iter().map(shard::range).collect();
        let marker = rows::installing_key(shard);
        if let Some(value) = self.view().get(&marker)? {
            ranges.extend(decode_ranges(&value));
        }
        let mut batch = WriteBatch::default();
        delete_rows(&mut batch, shard, &ranges);
        batch.delete(&marker);
        self.write_batch(batch, true)
    }

    /// Rough size on disk of the data rows of these slots, in bytes, without what is still in memory.
    pub fn approximate_bytes(&self, slots: SlotRange) -> u64 {
        let range = rows::data_range(slots);
        self.db.get_approximate_sizes(&[Range::new(&range.start, &range.end)]).iter().sum()
    }

    /// Tables that may hold any key, so that they wait to be merged with those below.
    #[cfg(test)]
    pub(crate) fn unsorted_tables(&self) -> u64 {
        self.db.property_int_value("rocksdb.num-files-at-level0").ok().flatten().unwrap_or(u64::MAX)
    }

    /// Rows of all shards that are in no table yet, in bytes. Includes what is deleted.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.db.property_int_value("rocksdb.cur-size-all-mem-tables").ok().flatten().unwrap_or(u64::MAX)
    }

    /// Most bytes that the rows of a shard can take. All is rough: what `state` counts are also writes that were written over,
    /// for as long as the shard lives; what the tables hold is not all, as some rows of some shard are still in memory.
    pub fn most_bytes(&self, state: &ShardState) -> u64 {
        most(state.bytes, self.approximate_bytes(shard::range(state)), self.memory_bytes())
    }

    /// Begins an install, in one synced batch: the marker is there, and all rows at `ranges` and the shard's state are
    /// gone. From here until [`DataStore::finish_install`] the shard has no rows that mean anything.
    pub(crate) fn begin_install(&self, shard: ShardId, ranges: &[SlotRange]) -> Result<(), EngineError> {
        let mut batch = WriteBatch::default();
        batch.put(rows::installing_key(shard), encode_ranges(ranges));
        if self.has_rows(shard, ranges)? {
            delete_rows(&mut batch, shard, ranges);
        }
        batch.delete(rows::shard_key(shard));
        self.write_batch(batch, true)
    }

    /// Takes checked and synced table files into the store, by moving them.
    pub(crate) fn ingest(&self, files: Vec<std::path::PathBuf>) -> Result<(), EngineError> {
        if files.is_empty() {
            return Ok(());
        }
        let mut options = rocksdb::IngestExternalFileOptions::default();
        options.set_move_files(true);
        options.set_snapshot_consistency(true);
        self.guard("ingest a snapshot", || self.db.ingest_external_file_opts(&options, files))
    }

    /// Ends an install, in one synced batch: the state is there and the marker is gone.
    pub(crate) fn finish_install(&self, shard: ShardId, state: &ShardState) -> Result<(), EngineError> {
        let mut batch = WriteBatch::default();
        batch.put(rows::shard_key(shard), prost::Message::encode_to_vec(state));
        batch.delete(rows::installing_key(shard));
        self.write_batch(batch, true)
    }

    fn has_rows(&self, shard: ShardId, ranges: &[SlotRange]) -> Result<bool, EngineError> {
        let view = self.view();
        for slots in ranges {
            for range in row_ranges(shard, *slots) {
                if view.next(&range.start, &range.end)?.is_some() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn collect<T>(
        &self,
        range: &KeyRange,
        decode: impl Fn(&[u8], &[u8]) -> Result<T, RowError>,
    ) -> Result<Vec<T>, EngineError> {
        self.poison.check()?;
        let mut found = Vec::new();
        self.view().scan(&range.start, &range.end, &mut |key, value| {
            let row = decode(key, value);
            let end = row.is_err();
            found.push(row);
            if end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let rows: Result<Vec<T>, RowError> = found.into_iter().collect();
        rows.map_err(|error| EngineError::corrupt(StoreKind::Data, error.to_string()))
    }
}

/// The state of a shard as a view shows it.
pub(crate) fn state_in(view: &impl View, shard: ShardId) -> Result<Option<ShardState>, EngineError> {
    shard::load(view, shard).map_err(|error| {
        let mut what = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            what = format!("{what}: {error}");
            source = error.source();
        }
        EngineError::corrupt(StoreKind::Data, what)
    })
}

/// Where the rows of a shard that owns `slots` are, all but its state, in order of key.
pub(crate) fn row_ranges(shard: ShardId, slots: SlotRange) -> Vec<KeyRange> {
    let mut ranges = vec![rows::data_range(slots), rows::answers_range(shard), rows::clients_range(shard)];
    if shard == META_SHARD {
        let start = rows::meta_key();
        ranges.push(KeyRange { end: rows::after(&start), start });
    }
    ranges
}

fn delete_rows(batch: &mut WriteBatch, shard: ShardId, ranges: &[SlotRange]) {
    // Also without any slots: a shard's answers are not under its slots.
    for slots in ranges.iter().chain([&SlotRange::NONE]) {
        for range in row_ranges(shard, *slots) {
            if range.start < range.end {
                batch.delete_range(&range.start, &range.end);
            }
        }
    }
    batch.delete(rows::shard_key(shard));
}

/// The value of an install marker: the two bounds (u16, big endian) of each range.
fn encode_ranges(ranges: &[SlotRange]) -> Vec<u8> {
    ranges.iter().flat_map(|range| [range.start.to_be_bytes(), range.end.to_be_bytes()]).flatten().collect()
}

fn decode_ranges(value: &[u8]) -> Vec<SlotRange> {
    let range =
        |[a, b, c, d]: &[u8; 4]| SlotRange { start: u16::from_be_bytes([*a, *b]), end: u16::from_be_bytes([*c, *d]) };
    value.as_chunks::<4>().0.iter().map(range).collect()
}
