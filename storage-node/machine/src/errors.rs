//! What can go wrong when an entry is applied. Every one of these stops the node, for all replicas would meet it; what
//! a caller did wrong is an answer, not an error.

use granary_common::ShardId;

use crate::{rows::RowError, view::ViewError};

/// An entry cannot be applied. The node stops and says so; what was gathered for the batch must not be written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The entry holds no operation this build knows.
    #[error("the entry at index {index} of {shard} holds no operation that this version knows ({what})")]
    UnknownOperation {
        /// The shard.
        shard: ShardId,
        /// Index of the entry.
        index: u64,
        /// Which part is missing.
        what: &'static str,
    },
    /// Entries came out of order.
    #[error("{shard} has applied index {applied}, and was given index {index} next")]
    Gap {
        /// The shard.
        shard: ShardId,
        /// Last index applied.
        applied: u64,
        /// Index given.
        index: u64,
    },
    /// The row of a client lists an answer that is not there.
    #[error("{shard} has lost its answer to write {sequence} of client {client}")]
    AnswerMissing {
        /// The shard.
        shard: ShardId,
        /// Client.
        client: u64,
        /// Number of the write.
        sequence: u64,
    },
    /// A row cannot be read back.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The store cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// The gRPC status codes that refusals carry.
pub mod code {
    /// It may or may not be done.
    pub const UNKNOWN: u32 = 2;
    /// A field is out of its range.
    pub const INVALID_ARGUMENT: u32 = 3;
    /// Too late.
    pub const DEADLINE_EXCEEDED: u32 = 4;
    /// What is named is not there.
    pub const NOT_FOUND: u32 = 5;
    /// It is there already, and is another.
    pub const ALREADY_EXISTS: u32 = 6;
    /// Too much at once.
    pub const RESOURCE_EXHAUSTED: u32 = 8;
    /// Not in the present state of things.
    pub const FAILED_PRECONDITION: u32 = 9;
    /// Something is broken.
    pub const INTERNAL: u32 = 13;
    /// Not here or not now; try again.
    pub const UNAVAILABLE: u32 = 14;
}
