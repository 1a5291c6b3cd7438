//! Limits that the wire, the log and the stores share. What is beyond is refused with the field's name.

/// Longest key, in bytes. The shortest is 1.
pub const MAX_KEY: usize = 4 * 1024;
/// Longest value, in bytes.
pub const MAX_VALUE: usize = 4 * 1024 * 1024;
/// Sum of the lengths of all keys and values of one batch or transaction, in bytes.
pub const MAX_BATCH: usize = 8 * 1024 * 1024;
/// Most writes of a batch; most guards and most writes of a transaction.
pub const MAX_BATCH_OPERATIONS: usize = 4096;
/// Longest gRPC message: a full batch and its framing. Raises tonic's default of 4 MiB.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;
/// Most rows of one page of a scan, and the number used when none is asked.
pub const MAX_PAGE_ROWS: u32 = 10_000;
/// Rows of a page when the request names none.
pub const DEFAULT_PAGE_ROWS: u32 = 1_000;
/// Bytes (keys and values) behind which a page ends.
pub const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Most writes of one client to one shard whose answers it does not have yet.
pub const MAX_UNANSWERED: u64 = 1024;
/// Age of a write's first try (ms, by its client's clock) from which it is refused as "outcome unknown".
pub const MAX_RETRY_AGE_MS: u64 = 10 * 60 * 1000;
/// Time without a write (ms, by the shard's own time, which no clock that is set can hurry) after which a client's answers
/// are dropped.
/// Longer than [`MAX_RETRY_AGE_MS`], so that no retry can arrive behind it.
pub const ANSWERS_KEPT_MS: u64 = 15 * 60 * 1000;
/// Most data shards of a cluster.
pub const MAX_SHARDS: u32 = 1024;
/// Index and term at which a new group starts, as if from a snapshot: an empty learner can never match it.
pub const FIRST_INDEX: u64 = 5;
/// See [`FIRST_INDEX`].
pub const FIRST_TERM: u64 = 5;
/// What this build can do; see "feature level" in ARCHITECTURE.md.
pub const FEATURE_LEVEL: u32 = 1;
