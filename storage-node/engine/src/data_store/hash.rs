//! One number for all rows of a shard, so that two replicas can be compared at the same applied index.

use std::ops::ControlFlow;

use granary_common::ShardId;
use granary_machine::{rows, shard};
use prost::Message as _;

use super::{DataStore, SnapshotView, shard_rows};
use crate::EngineError;

/// Bytes between two calls of the pace.
const STRIDE: u64 = 256 << 10;

/// What a replica holds, at one applied index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaHash {
    /// Applied index at which the rows were read.
    pub applied_index: u64,
    /// FNV-1a (64 bits) over all rows with their lengths, in order of key. Equal rows, equal hash; no defence against
    /// rows that were made to collide.
    pub hash: u64,
    /// Number of rows, the shard's state among them.
    pub rows: u64,
    /// Sum of the lengths of their keys and values.
    pub bytes: u64,
}

impl DataStore {
    /// Hashes all rows of a shard, read from one snapshot; `None` when the store has no state of it.
    pub fn replica_hash(&self, shard: ShardId) -> Result<Option<ReplicaHash>, EngineError> {
        self.snapshot().replica_hash(shard, &mut |_| ())
    }
}

impl SnapshotView<'_> {
    /// As [`DataStore::replica_hash`], of the rows that this view shows. `pace` is called with the bytes read since its last
    /// call, and may wait.
    pub fn replica_hash(&self, shard: ShardId, pace: &mut dyn FnMut(u64)) -> Result<Option<ReplicaHash>, EngineError> {
        let Some(state) = shard_rows::state_in(self, shard)? else { return Ok(None) };
        let mut paid = 0;
        let mut hash = Fnv { hash: 0xcbf2_9ce4_8422_2325, rows: 0, bytes: 0 };
        hash.row(&rows::shard_key(shard), &state.encode_to_vec());
        for range in shard_rows::row_ranges(shard, shard::range(&state)) {
            self.scan_once(&range.start, &range.end, &mut |key, value| {
                hash.row(key, value);
                if hash.bytes - paid >= STRIDE {
                    pace(hash.bytes - paid);
                    paid = hash.bytes;
                }
                ControlFlow::Continue(())
            })?;
        }
        pace(hash.bytes - paid);
        Ok(Some(ReplicaHash {
            applied_index: state.applied_index,
            hash: hash.hash,
            rows: hash.rows,
            bytes: hash.bytes,
        }))
    }
}

struct Fnv {
    hash: u64,
    rows: u64,
    bytes: u64,
}

impl Fnv {
    fn row(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            self.add(&(part.len() as u64).to_le_bytes());
            self.add(part);
            self.bytes += part.len() as u64;
        }
        self.rows += 1;
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
