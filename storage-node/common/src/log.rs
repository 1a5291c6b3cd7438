//! The plain form of what a Raft log holds, so that the store (which knows `raft`) and the engine (which knows
//! RocksDB) need not know each other.

use bytes::Bytes;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A command; empty data for the first entry of a leader's term.
    Normal,
    /// A change of membership.
    ConfChange,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position, without holes.
    pub index: u64,
    /// Term of the leader that made it.
    pub term: u64,
    /// What `data` is.
    pub kind: EntryKind,
    /// An encoded command, or an encoded membership change.
    pub data: Bytes,
    /// With a membership change: the encoded group that it leads to.
    pub context: Bytes,
}

impl Entry {
    /// Bytes it counts for in queues and caches.
    pub fn weight(&self) -> usize {
        self.data.len() + self.context.len() + 32
    }
}

/// What Raft must never forget about its votes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// Current term.
    pub term: u64,
    /// Replica voted for in it; 0: none.
    pub vote: u64,
    /// Highest index known to be committed.
    pub commit: u64,
}

/// A position in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Index.
    pub index: u64,
    /// Term of the entry there.
    pub term: u64,
}
