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
    /// With a membership change: the encoded group that it leads to. Of an entry without data: see [`mark`].
    pub context: Bytes,
}

/// Before the number of a mark.
const MARK: [u8; 4] = *b"mark";

/// The context of an entry without data that is a mark: all replicas are compared at its index. It changes nothing, so who
/// knows no marks passes over it and comes to the same state: it needs no feature level.
pub fn mark(number: u64) -> Bytes {
    [&MARK[..], &number.to_be_bytes()].concat().into()
}

impl Entry {
    /// The number of the mark that it is.
    pub fn as_mark(&self) -> Option<u64> {
        if self.kind != EntryKind::Normal || !self.data.is_empty() {
            return None;
        }
        let number = self.context.strip_prefix(&MARK)?;
        number.try_into().ok().map(u64::from_be_bytes)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_entry_without_data_and_with_the_right_context_is_a_mark() {
        let entry = |kind, data: &'static str, context| Entry { index: 1, term: 1, kind, data: data.into(), context };
        assert_eq!(entry(EntryKind::Normal, "", mark(77)).as_mark(), Some(77));
        assert_eq!(entry(EntryKind::Normal, "d", mark(77)).as_mark(), None);
        assert_eq!(entry(EntryKind::ConfChange, "", mark(77)).as_mark(), None);
        for context in ["", "mark", "mark1234567", "other678"] {
            assert_eq!(entry(EntryKind::Normal, "", context.into()).as_mark(), None, "{context}");
        }
    }
}
