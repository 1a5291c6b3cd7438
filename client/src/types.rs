//! What callers give and get.

use bytes::Bytes;
use granary_proto::kv;

use crate::Error;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The bytes; at most 4 MiB.
    pub value: Bytes,
    /// Revision of the write that made it; comparable only within one shard.
    pub revision: u64,
}

/// What a delete found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Whether the key was there.
    pub existed: bool,
    /// Revision of the delete.
    pub revision: u64,
}

/// A condition on what a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Absent,
    /// Anything.
    Present,
    /// Exactly this.
    Value(Bytes),
    /// What was last written at this revision (not 0).
    Revision(u64),
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The key.
    pub key: Bytes,
    /// What it must hold.
    pub expected: Expected,
}

/// What becomes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It holds this.
    Put(Bytes),
    /// It holds nothing.
    Delete,
}

/// One write of a batch or transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: Bytes,
    /// What becomes of it.
    pub change: Change,
}

impl Write {
    /// Puts `value` at `key`.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), change: Change::Put(value.into()) }
    }

    /// Deletes `key`.
    pub fn delete(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), change: Change::Delete }
    }

    /// Bytes it counts for in the limit of a batch.
    pub(crate) fn weight(&self) -> usize {
        match &self.change {
            Change::Put(value) => self.key.len() + value.len(),
            Change::Delete => self.key.len(),
        }
    }
}

/// How a compare-and-set ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// The key was as expected, and was changed at this revision.
    Done {
        /// Revision of the change.
        revision: u64,
    },
    /// The key was not as expected and is unchanged: what it holds.
    Refused(Option<Value>),
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    /// All guards held, and all writes were applied at this revision.
    Done {
        /// Revision of the writes.
        revision: u64,
    },
    /// Some guards did not hold and nothing was written: their keys (at most 16) and what those hold.
    Refused(Vec<(Bytes, Option<Value>)>),
}

/// Which keys a delete-range is about: `start <= key < end`, compared as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRange {
    /// First key.
    pub start: Bytes,
    /// One behind the last key; empty for no bound.
    pub end: Bytes,
    /// Only keys with this tag, atomically. When empty: all shards, one after the other.
    pub tag: Bytes,
}

/// What became of one shard's part of a batch or delete-range.
#[derive(Clone, Debug)]
pub struct Part {
    /// The shard.
    pub shard_id: u32,
    /// Writes in the part; 0 for a delete-range, which does not count them.
    pub writes: usize,
    /// Revision of the part, or why it was not done. Other parts may have been done all the same.
    pub result: Result<u64, Error>,
}

impl From<Write> for kv::Write {
    fn from(write: Write) -> Self {
        let change = match write.change {
            Change::Put(value) => kv::write::Change::Value(value),
            Change::Delete => kv::write::Change::Delete(true),
        };
        Self { key: write.key, change: Some(change) }
    }
}

impl From<Guard> for kv::Guard {
    fn from(guard: Guard) -> Self {
        use kv::guard::Condition;
        let condition = match guard.expected {
            Expected::Absent => Condition::Absent(true),
            Expected::Present => Condition::Present(true),
            Expected::Value(value) => Condition::Value(value),
            Expected::Revision(revision) => Condition::Revision(revision),
        };
        Self { key: guard.key, condition: Some(condition) }
    }
}

/// The value in an answer that may hold none.
pub(crate) fn value_of(current: kv::Current) -> Option<Value> {
    current.found.then_some(Value { value: current.value, revision: current.revision })
}
