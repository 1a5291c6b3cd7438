//! The plain form of what a Raft log holds, so that the store (which knows `raft`) and the engine (which knows
//! RocksDB) need not know each other.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use thiserror::Error;

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
    /// An encoded command, several of them (see [`pack`]), or an encoded membership change.
    pub data: Bytes,
    /// With a membership change: the encoded group that it leads to. Of an entry without data: see [`mark`].
    pub context: Bytes,
}

/// The context of an entry that holds several commands.
const PACK: Bytes = Bytes::from_static(b"pack");
/// Bytes that a command takes in a pack beside its own.
pub const PACKED: usize = 4;

/// Data and context of one entry for several commands of one shard, none of them empty: an entry costs each replica the
/// same, however much it holds. They are applied in this order, all or none.
pub fn pack(commands: &[Bytes]) -> (Bytes, Bytes) {
    let mut data = BytesMut::with_capacity(commands.iter().map(|command| command.len() + PACKED).sum());
    for command in commands {
        data.put_u32(command.len() as u32);
        data.put_slice(command);
    }
    (data.freeze(), PACK)
}

/// A pack is not as it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the commands of the entry do not fill it")]
pub struct TornPack;

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

    /// The encoded commands that it holds, in order; none in that of a leader's term, and in a mark. Of a normal entry only.
    ///
    /// # Errors
    /// [`TornPack`] when what it holds does not end where the entry does, or is empty.
    pub fn commands(&self) -> Result<Vec<Bytes>, TornPack> {
        if self.context != PACK {
            return Ok(if self.data.is_empty() { Vec::new() } else { vec![self.data.clone()] });
        }
        let (mut data, mut commands) = (self.data.clone(), Vec::new());
        while !data.is_empty() {
            let length = data.try_get_u32().map_err(|_| TornPack)? as usize;
            if length == 0 || length > data.len() {
                return Err(TornPack);
            }
            commands.push(data.split_to(length));
        }
        if commands.is_empty() { Err(TornPack) } else { Ok(commands) }
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
    fn a_pack_gives_back_its_commands_and_a_torn_one_none() {
        let commands: Vec<Bytes> = ["a", "bb", "a"].map(Bytes::from).to_vec();
        let (data, context) = pack(&commands);
        assert_eq!(data.len(), 4 + 3 * PACKED);
        let entry = |data: Bytes| Entry { index: 1, term: 1, kind: EntryKind::Normal, data, context: context.clone() };
        assert_eq!(entry(data.clone()).commands(), Ok(commands));
        assert_eq!(entry(data.clone()).as_mark(), None);
        // Where one ends, the rest is a pack of fewer.
        for cut in (0..data.len()).filter(|cut| ![5, 11].contains(cut)) {
            assert_eq!(entry(data.slice(..cut)).commands(), Err(TornPack), "cut at {cut}");
        }
        assert_eq!(entry(Bytes::from_static(&[0, 0, 0, 0])).commands(), Err(TornPack), "an empty command");

        let plain = |data: &'static str| Entry { context: Bytes::new(), ..entry(data.into()) };
        assert_eq!(plain("command").commands(), Ok(vec!["command".into()]));
        assert_eq!(plain("").commands(), Ok(vec![]));
    }

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
