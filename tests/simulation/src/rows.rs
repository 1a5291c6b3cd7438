//! The rows of one node's `data/`, with a hash of each shard's rows that is kept up to date write by write.

use std::{collections::BTreeMap, ops::ControlFlow};

use granary_common::{META_SHARD, ShardId, SlotRange};
use granary_machine::{
    View, Write,
    rows::{self, KeyRange, Kind},
    testing::MemView,
};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    view: MemView,
    hashes: BTreeMap<u32, u64>,
    /// Data shards of the cluster.
    shards: u32,
}

impl Rows {
    /// No rows, in a cluster of so many data shards.
    pub fn new(shards: u32) -> Self {
        Self { shards, ..Self::default() }
    }

    /// What reads see.
    pub fn view(&self) -> &MemView {
        &self.view
    }

    /// The hash of a shard's rows: equal for equal rows.
    pub fn hash(&self, shard: ShardId) -> u64 {
        self.hashes.get(&shard.0).copied().unwrap_or(0)
    }

    /// The slots of a shard, as all shards of a cluster are cut.
    pub fn slots(&self, shard: ShardId) -> SlotRange {
        if shard == META_SHARD { SlotRange::NONE } else { SlotRange::of_shard(shard.0 - 1, self.shards) }
    }

    /// Makes the writes, in order.
    pub fn write(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Put { key, value } => {
                    self.forget(key);
                    self.add(key, value);
                }
                Write::Delete { key } => self.forget(key),
                Write::DeleteRange { start, end } => {
                    for (key, _) in scan(&self.view, &KeyRange { start: start.clone(), end: end.clone() }) {
                        self.forget(&key);
                    }
                }
            }
            self.view.write([write.clone()]);
        }
    }

    fn forget(&mut self, key: &[u8]) {
        if let Ok(Some(old)) = self.view.get(key)
            && let Some(shard) = self.shard_of(key)
        {
            let hash = self.hashes.entry(shard).or_default();
            *hash = hash.wrapping_sub(row_hash(key, &old));
        }
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        if let Some(shard) = self.shard_of(key) {
            let hash = self.hashes.entry(shard).or_default();
            *hash = hash.wrapping_add(row_hash(key, value));
        }
    }

    fn shard_of(&self, key: &[u8]) -> Option<u32> {
        let number =
            |bytes: &[u8]| bytes.get(1..5).map(|four| four.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
        match Kind::of(key).ok()? {
            Kind::Data => {
                let (slot, _) = rows::decode_data_key(key).ok()?;
                (0..self.shards).find(|of| SlotRange::of_shard(*of, self.shards).contains(slot)).map(|of| of + 1)
            }
            Kind::Shard | Kind::Answer | Kind::Client => number(key),
            Kind::Meta => Some(META_SHARD.0),
            Kind::Store | Kind::Installing => None,
        }
    }
}

/// FNV-1a over both, so that a sum of row hashes tells rows apart.
fn row_hash(key: &[u8], value: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325, step);
    let hash = value.iter().fold(step(hash, &0xff), step);
    hash ^ hash.rotate_left(29)
}

/// All rows of a range.
pub fn scan(view: &MemView, range: &KeyRange) -> Vec<(bytes::Bytes, bytes::Bytes)> {
    let mut found = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        found.push((bytes::Bytes::copy_from_slice(key), bytes::Bytes::copy_from_slice(value)));
        ControlFlow::Continue(())
    };
    view.scan(&range.start, &range.end, visit).expect("rows in memory can be read");
    found
}

/// Where the rows of a shard that owns `slots` are, all but its state: as the engine has it.
pub fn ranges(shard: ShardId, slots: SlotRange) -> Vec<KeyRange> {
    let mut ranges = vec![rows::data_range(slots), rows::answers_range(shard), rows::clients_range(shard)];
    if shard == META_SHARD {
        let start = rows::meta_key();
        ranges.push(KeyRange { end: rows::after(&start), start });
    }
    ranges
}
