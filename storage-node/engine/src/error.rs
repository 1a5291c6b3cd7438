//! What can go wrong in a store. Every message says which store, and what is wrong with what.

use std::fmt;

use granary_common::{ReplicaId, ShardId};

use crate::{FileError, damage::is_damage, disk::is_lack_of_room};

/// One of a node's two RocksDB instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// The Raft logs and votes, in `raft/`.
    Raft,
    /// The state machines, in `data/`.
    Data,
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raft => "raft/",
            Self::Data => "data/",
        })
    }
}

/// An error of `raft/` or `data/`. All but [`EngineError::Purged`] and [`EngineError::Refused`] mean that the node stops.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// RocksDB failed, or a look at its files.
    #[error("{store}: {action}: {message}")]
    RocksDb {
        /// Which of the two.
        store: StoreKind,
        /// What was attempted.
        action: &'static str,
        /// RocksDB's words, or the file system's.
        message: String,
    },
    /// An earlier write or sync failed: nothing is tried again (HAZARDS H22).
    #[error("{store} takes nothing more since its first failure: {first}")]
    Poisoned {
        /// Which of the two.
        store: StoreKind,
        /// The first failure.
        first: String,
    },
    /// A row is not what was written.
    #[error("{store} is corrupt: {what}")]
    Corrupt {
        /// Which of the two.
        store: StoreKind,
        /// Which row, and what is wrong with it.
        what: String,
    },
    /// A row of a kind or format that this build does not know: it is never skipped.
    #[error("{store} holds {what}, which this build does not know")]
    Unknown {
        /// Which of the two.
        store: StoreKind,
        /// What it found.
        what: String,
    },
    /// The store belongs to another node, cluster or disk.
    #[error("{store} belongs to {found}, expected {expected}")]
    Identity {
        /// Which of the two.
        store: StoreKind,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// A log has a hole: an entry that must be there is not.
    #[error("raft/: the log of {shard} {replica} has no entry {index}")]
    Hole {
        /// Shard of the log.
        shard: ShardId,
        /// Replica of the log.
        replica: ReplicaId,
        /// The first entry that is not there.
        index: u64,
    },
    /// The entries asked for were purged: a snapshot must serve instead.
    #[error("raft/: entry {index} of {shard} {replica} was purged; the log begins behind {truncated}")]
    Purged {
        /// Shard of the log.
        shard: ShardId,
        /// Replica of the log.
        replica: ReplicaId,
        /// First entry asked for.
        index: u64,
        /// Last purged entry.
        truncated: u64,
    },
    /// The caller asked for what cannot be; nothing was written.
    #[error("{store} refuses: {why}")]
    Refused {
        /// Which of the two.
        store: StoreKind,
        /// What is wrong with it.
        why: String,
    },
}

impl EngineError {
    /// For `map_err` around a call of RocksDB.
    pub(crate) fn rocksdb(store: StoreKind, action: &'static str) -> impl FnOnce(rocksdb::Error) -> Self {
        move |error| Self::RocksDb { store, action, message: error.into_string() }
    }

    /// For `map_err` around a look at RocksDB's own files.
    pub(crate) fn file(store: StoreKind, action: &'static str) -> impl FnOnce(FileError) -> Self {
        move |error| Self::RocksDb { store, action, message: error.to_string() }
    }

    /// Whether there was no room: another try may do better once there is more.
    pub fn is_lack_of_room(&self) -> bool {
        is_lack_of_room(&self.to_string())
    }

    /// Whether it means that what is on the disk is not what was written, or cannot be read.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Corrupt { .. } => true,
            Self::RocksDb { message, .. } => is_damage(message),
            _ => false,
        }
    }

    pub(crate) fn corrupt(store: StoreKind, what: impl Into<String>) -> Self {
        Self::Corrupt { store, what: what.into() }
    }
}
