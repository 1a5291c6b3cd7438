//! What can go wrong with a snapshot.

use crate::{EngineError, FileError};

/// Why a snapshot was not made, taken in, or installed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// RocksDB could not write a file.
    #[error("cannot write a snapshot's file: {0}")]
    Write(String),
    /// The store has no state of the shard.
    #[error("there is no {0} here")]
    NoShard(granary_common::ShardId),
    /// The manifest is not one that can be taken.
    #[error("snapshot refused: {field} is {value}, {allowed}")]
    Refused {
        /// Field of the manifest.
        field: &'static str,
        /// What it says.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// A chunk or file is not what the manifest says.
    #[error("snapshot damaged on its way: {0}")]
    Damaged(String),
}
