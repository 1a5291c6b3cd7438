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
    /// A row cannot be read back.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The store cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
}
