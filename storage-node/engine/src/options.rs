//! How the two RocksDB instances are tuned, and how much memory they may take.

use std::path::Path;

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, Env, LruCacheOptions,
    Options, WriteBufferManager, WriteOptions,
};

use crate::{EngineError, StoreKind};

/// What a node may spend on its stores. The sum of the three sizes is about what RocksDB takes in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Cache of uncompressed blocks, indexes and filters of `data/`, in bytes.
    pub block_cache_bytes: usize,
    /// All memtables of `data/` together, in bytes; two thirds of it may be waiting to be flushed.
    pub data_memtable_bytes: usize,
    /// All memtables of `raft/` together, in bytes.
    pub raft_memtable_bytes: usize,
    /// One of RocksDB's own text logs, in bytes; each store keeps four.
    pub info_log_bytes: usize,
    /// Threads for flushes and compactions of each store.
    pub background_jobs: i32,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: 64 << 20,
            data_memtable_bytes: 64 << 20,
            raft_memtable_bytes: 64 << 20,
            info_log_bytes: 4 << 20,
            background_jobs: 2,
        }
    }
}

/// Smallest memtables of a store, in bytes.
const MIN_MEMTABLES: usize = 3 << 20;

impl EngineOptions {
    /// The default, with less on a disk of `total` bytes that is small: a store writes its memtables twice, to a log that
    /// takes its space beforehand and to a table, and merges tables into others of the same size.
    pub fn for_disk(total: u64) -> Self {
        let default = Self::default();
        let share = usize::try_from(total / 16).unwrap_or(usize::MAX).max(MIN_MEMTABLES);
        Self {
            data_memtable_bytes: default.data_memtable_bytes.min(share),
            raft_memtable_bytes: default.raft_memtable_bytes.min(share),
            info_log_bytes: default.info_log_bytes.min(usize::try_from(total / 256).unwrap_or(usize::MAX)),
            ..default
        }
    }
}

/// Memtables of a store: one that takes writes and two that wait for their flush.
const MEMTABLES: i32 = 3;
/// Open files of a store; each costs its index and filter blocks when it is not in the cache.
const OPEN_FILES: i32 = 512;
/// Space taken beforehand for the list of a store's files.
const MANIFEST_BYTES: usize = 256 << 10;
/// A piece of an index or a filter.
const METADATA_BYTES: usize = 8 << 10;
/// A part of the block cache, at least: a part holds no block that is larger, and that of a value is as large as the value.
const CACHE_PART_BYTES: usize = 8 << 20;
/// Parts of the block cache at most, as a power of two; each has a lock.
const MAX_CACHE_PARTS: u32 = 6;
/// RocksDB's own text logs.
const INFO_LOGS: usize = 4;

impl EngineOptions {
    fn common(&self, options: &mut Options, memtable_bytes: usize) {
        options.set_write_buffer_size(memtable_bytes / MEMTABLES as usize);
        options.set_max_write_buffer_number(MEMTABLES);
        options.set_max_background_jobs(self.background_jobs);
        // Merges of tables can wait, clients cannot. One pool of threads serves all stores of the process. Where it
        // cannot be had, they only do not wait.
        if let Ok(mut env) = Env::new() {
            env.lower_thread_pool_cpu_priority();
            options.set_env(&env);
        }
        // Each store has one writing thread: what helps several to share costs one alone.
        options.set_allow_concurrent_memtable_write(false);
        options.set_enable_write_thread_adaptive_yield(false);
        options.set_max_open_files(OPEN_FILES);
        options.set_bytes_per_sync(1 << 20);
        options.set_wal_bytes_per_sync(512 << 10);
        options.set_keep_log_file_num(INFO_LOGS);
        options.set_max_log_file_size(self.info_log_bytes);
        // Taken from the disk beforehand, like the log's space; 4 MiB by default.
        options.set_manifest_preallocation_size(MANIFEST_BYTES);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager(memtable_bytes, false));
    }

    /// For `raft/`: rows live for seconds, are read in order and rarely.
    pub(crate) fn raft(&self) -> Options {
        let mut options = Options::default();
        self.common(&mut options, self.raft_memtable_bytes);
        // A torn tail after a power cut is normal and was never acknowledged; damage before it is not, and votes are in
        // there: then the store does not open. (Point-in-time would silently drop what is behind the damage: H21. It is
        // used only where the mark of what was synced shows that it drops nothing of that.)
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        // A whole WAL file that is gone is damage as well.
        options.set_track_and_verify_wals_in_manifest(true);
        options.set_compression_type(DBCompressionType::None);
        options.set_target_file_size_base(32 << 20);
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&Cache::new_lru_cache(8 << 20));
        blocks.set_block_size(32 << 10);
        blocks.set_format_version(5);
        options.set_block_based_table_factory(&blocks);
        options
    }

    /// For `raft/` when its log has a wrong record: all before that. Who opens it so has to know that nothing behind it was
    /// synced.
    pub(crate) fn raft_before_damage(&self) -> Options {
        let mut options = self.raft();
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options
    }

    /// For `data/`: point reads, short scans, and lost unsynced writes that the log makes good.
    pub(crate) fn data(&self) -> Result<Options, EngineError> {
        // A power cut may take the end of one log, and leave the next one, whose writes are newer. RocksDB would replay that
        // over the hole, applied indexes included, unless each log says where the one before it ended.
        let mut options = Options::default()
            .get_options_from_string("track_and_verify_wals=true")
            .map_err(EngineError::rocksdb(StoreKind::Data, "set options of"))?;
        self.common(&mut options, self.data_memtable_bytes);
        // What was not synced may go: it is applied again. What was synced and is damaged shows as an applied index
        // below the purged log, and the replica is made anew.
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        // A call to the kernel for each batch would promise nothing more: the log is kept until the rows are synced.
        options.set_manual_wal_flush(true);
        self.data_tables(&mut options);
        Ok(options)
    }

    /// How tables of `data/` are written: also those of snapshots, which are taken in as they are.
    pub(crate) fn data_tables(&self, options: &mut Options) {
        let none = DBCompressionType::None;
        let lz4 = DBCompressionType::Lz4;
        options.set_compression_per_level(&[none, none, lz4, lz4, lz4, lz4, lz4]);
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(0.02);
        options.set_target_file_size_base(64 << 20);
        options.set_level_compaction_dynamic_level_bytes(true);
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.block_cache());
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        // In pieces that the cache takes one by one: the filter of a large table of small rows is megabytes, and would be
        // read whole for each get that finds it evicted.
        blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_partition_filters(true);
        blocks.set_metadata_block_size(METADATA_BYTES);
        blocks.set_pin_top_level_index_and_filter(true);
        blocks.set_whole_key_filtering(true);
        blocks.set_bloom_filter(10.0, false);
        blocks.set_block_size(16 << 10);
        blocks.set_format_version(5);
        options.set_block_based_table_factory(&blocks);
    }

    /// RocksDB would divide it by half mebibytes.
    fn block_cache(&self) -> Cache {
        let parts = (self.block_cache_bytes / CACHE_PART_BYTES).checked_ilog2().unwrap_or(0).min(MAX_CACHE_PARTS);
        let mut options = LruCacheOptions::default();
        options.set_capacity(self.block_cache_bytes);
        options.set_num_shard_bits(parts as i32);
        Cache::new_lru_cache_opts(&options)
    }

    /// For the files of a snapshot.
    pub(crate) fn snapshot_files() -> Options {
        let mut options = Options::default();
        // These are read once, by checksum, and then ingested: no cache is needed to write them.
        Self { block_cache_bytes: 0, ..Self::default() }.data_tables(&mut options);
        options.set_compression_type(DBCompressionType::Lz4);
        options
    }
}

/// A store is either made, and must not be there, or opened, and must be: RocksDB never decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Open {
    Create,
    Existing,
}

/// Opens a RocksDB instance.
pub(crate) fn open(store: StoreKind, path: &Path, options: &Options, how: Open) -> Result<DB, EngineError> {
    let mut options = options.clone();
    options.create_if_missing(how == Open::Create);
    options.set_error_if_exists(how == Open::Create);
    DB::open(&options, path).map_err(EngineError::rocksdb(store, "open"))
}

/// Options of a write that is durable when it returns.
pub(crate) fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}
