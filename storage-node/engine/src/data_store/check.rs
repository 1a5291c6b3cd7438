//! Reads what the tables of `data/` hold, past the caches, so that damage is found before somebody needs what is
//! damaged: a second instance over the same files, which writes nothing there and has a small cache of its own.

use std::path::Path;

use rocksdb::{BlockBasedOptions, Cache, DB, Options, ReadOptions};

use super::DataStore;
use crate::{EngineError, StoreKind, damage::is_damage, files};

/// Memory for blocks of the second instance, in bytes.
const CACHE: usize = 4 << 20;
/// Bytes between two calls of the pace.
const STRIDE: u64 = 256 << 10;

/// How far one look came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Bytes of keys and values that were read.
    pub bytes: u64,
    /// Where the next look goes on; `None`: everything was read.
    pub next: Option<Vec<u8>>,
}

impl DataStore {
    /// Reads the rows from `from` on, at most about `budget` bytes of them: the files of one look stay on the disk
    /// until it ends, also when the store needs them no more. `pace` is called with the bytes read since its last call,
    /// and may wait. Damage is remembered, see [`DataStore::damage`], and ends the check.
    ///
    /// # Errors
    /// What could not be looked at; unless [`DataStore::damage`] says so, that means nothing for the rows.
    pub fn check_tables(
        &self,
        scratch: &Path,
        from: &[u8],
        budget: u64,
        pace: &mut dyn FnMut(u64),
    ) -> Result<Checked, EngineError> {
        files::remove_tree(scratch).map_err(|error| refused(error.to_string()))?;
        let result = self.read_second(scratch, from, budget, pace);
        let _ = files::remove_tree(scratch);
        result.map_err(|error| {
            let error = error.into_string();
            if is_damage(&error) {
                self.remember_damage(&error);
            }
            EngineError::RocksDb { store: StoreKind::Data, action: "check the tables", message: error }
        })
    }

    fn read_second(
        &self,
        scratch: &Path,
        from: &[u8],
        budget: u64,
        pace: &mut dyn FnMut(u64),
    ) -> Result<Checked, rocksdb::Error> {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&Cache::new_lru_cache(CACHE));
        let mut options = Options::default();
        options.set_block_based_table_factory(&blocks);
        // A file that the store gives up meanwhile stays readable while it is open.
        options.set_max_open_files(-1);
        options.set_keep_log_file_num(1);
        let second = DB::open_as_secondary(&options, self.db.path(), scratch)?;
        let mut read = ReadOptions::default();
        read.set_verify_checksums(true);
        read.fill_cache(false);
        read.set_readahead_size(1 << 20);
        let mut iterator = second.raw_iterator_opt(read);
        let (mut checked, mut paid) = (Checked::default(), 0);
        iterator.seek(from);
        while let Some((key, value)) = iterator.item() {
            if checked.bytes >= budget {
                checked.next = Some(key.to_vec());
                break;
            }
            checked.bytes += (key.len() + value.len()) as u64;
            if checked.bytes - paid >= STRIDE {
                pace(checked.bytes - paid);
                paid = checked.bytes;
            }
            iterator.next();
        }
        iterator.status()?;
        pace(checked.bytes - paid);
        Ok(checked)
    }
}

fn refused(why: String) -> EngineError {
    EngineError::Refused { store: StoreKind::Data, why }
}
