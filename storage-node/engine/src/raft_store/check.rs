//! Reads all rows of `raft/` and compares each with its checksum, so that damage is found before it is needed.

use rocksdb::ReadOptions;

use super::{RaftStore, rows};
use crate::{EngineError, StoreKind};

/// Bytes between two calls of the pace.
const STRIDE: u64 = 256 << 10;

impl RaftStore {
    /// Reads everything; gives the bytes of keys and values. `pace` is called with the bytes read since its last call,
    /// and may wait.
    ///
    /// # Errors
    /// The first row that is not what was written, or why the store cannot be read.
    pub fn check_rows(&self, pace: &mut dyn FnMut(u64)) -> Result<u64, EngineError> {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        options.fill_cache(false);
        options.set_readahead_size(1 << 20);
        let mut iterator = self.db.raw_iterator_opt(options);
        let (mut bytes, mut paid) = (0, 0);
        // The header has its own format; it was checked at the opening.
        iterator.seek([rows::HEADER + 1]);
        while let Some((key, value)) = iterator.item() {
            rows::unseal(key, value)?;
            bytes += (key.len() + value.len()) as u64;
            if bytes - paid >= STRIDE {
                pace(bytes - paid);
                paid = bytes;
            }
            iterator.next();
        }
        iterator.status().map_err(EngineError::rocksdb(StoreKind::Raft, "check the rows"))?;
        pace(bytes - paid);
        Ok(bytes)
    }
}
