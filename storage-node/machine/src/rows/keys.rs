//! Keys of rows and ranges of them.

use bytes::{BufMut as _, Bytes, BytesMut};
use granary_common::{ShardId, SlotRange, slot_of};

use super::RowError;

/// Kind of a row: the first byte of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The store's own rows: format version and identity.
    Store = 0x01,
    /// A user's key and value.
    Data = 0x10,
    /// State of a shard.
    Shard = 0x20,
    /// Answer of a write that its client may retry.
    Answer = 0x21,
    /// What is known of a client of a shard.
    Client = 0x22,
    /// A snapshot is being installed in this shard.
    Installing = 0x30,
    /// State of the meta shard.
    Meta = 0x40,
}

impl Kind {
    /// All kinds, in the order of their rows.
    pub const ALL: [Self; 7] =
        [Self::Store, Self::Data, Self::Shard, Self::Answer, Self::Client, Self::Installing, Self::Meta];

    /// The kind of the row with this key. An unknown kind stops the node.
    pub fn of(key: &[u8]) -> Result<Self, RowError> {
        let found = key.first().copied();
        Self::ALL
            .into_iter()
            .find(|kind| Some(*kind as u8) == found)
            .ok_or(RowError::UnknownKind { found, length: key.len() })
    }
}

/// Keys of rows, `start <= key < end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// First key.
    pub start: Bytes,
    /// One behind the last key.
    pub end: Bytes,
}

impl KeyRange {
    /// All keys that begin with `prefix`, which begins with the byte of a kind.
    fn of_prefix(prefix: Bytes) -> Self {
        // A kind's byte is below 0xff, so there is always a byte to raise.
        let kept = prefix.iter().rposition(|&byte| byte != 0xff).map_or(0, |last| last + 1);
        let mut end = BytesMut::from(&prefix[..kept]);
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        Self { start: prefix, end: end.freeze() }
    }

    /// Whether `key` is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start <= key && key < self.end
    }
}

/// The smallest key behind `key`.
pub fn after(key: &[u8]) -> Bytes {
    let mut behind = BytesMut::with_capacity(key.len() + 1);
    behind.put_slice(key);
    behind.put_u8(0);
    behind.freeze()
}

/// Key of the store's own row `name`.
pub fn store_key(name: &str) -> Bytes {
    let mut row = begin(Kind::Store, name.len());
    row.put_slice(name.as_bytes());
    row.freeze()
}

/// Key of the row of the user's `key`.
pub fn data_key(key: &[u8]) -> Bytes {
    data_key_in(slot_of(key), key)
}

/// Key of the row that `key` (or a bound of keys) has in `slot`, 0 to 16384.
pub fn data_key_in(slot: u16, key: &[u8]) -> Bytes {
    let mut row = begin(Kind::Data, 2 + key.len());
    row.put_u16(slot);
    row.put_slice(key);
    row.freeze()
}

/// Slot and key of the user behind the key of a data row.
pub fn decode_data_key(row: &[u8]) -> Result<(u16, &[u8]), RowError> {
    match row {
        [kind, high, low, key @ ..] if *kind == Kind::Data as u8 => Ok((u16::from_be_bytes([*high, *low]), key)),
        _ => Err(bad_key(Kind::Data, row)),
    }
}

/// All data rows of these slots.
pub fn data_range(slots: SlotRange) -> KeyRange {
    KeyRange { start: data_key_in(slots.start, &[]), end: data_key_in(slots.end.max(slots.start), &[]) }
}

/// Key of a shard's state.
pub fn shard_key(shard: ShardId) -> Bytes {
    of_shard(Kind::Shard, shard, 0).freeze()
}

/// Shard behind the key of its state or of its install marker.
pub fn decode_shard_key(row: &[u8]) -> Result<ShardId, RowError> {
    match row {
        [kind, shard @ ..] if *kind == Kind::Shard as u8 || *kind == Kind::Installing as u8 => {
            let shard = shard.try_into().map_err(|_| bad_key(Kind::Shard, row))?;
            Ok(ShardId(u32::from_be_bytes(shard)))
        }
        _ => Err(bad_key(Kind::Shard, row)),
    }
}

/// The states of all shards.
pub fn shards_range() -> KeyRange {
    KeyRange::of_prefix(begin(Kind::Shard, 0).freeze())
}

/// Key of the answer to write number `sequence` of `client`.
pub fn answer_key(shard: ShardId, client: u64, sequence: u64) -> Bytes {
    let mut row = of_shard(Kind::Answer, shard, 16);
    row.put_u64(client);
    row.put_u64(sequence);
    row.freeze()
}

/// Client and sequence number behind the key of an answer.
pub fn decode_answer_key(row: &[u8]) -> Result<(u64, u64), RowError> {
    let numbers = behind_shard(Kind::Answer, row)?;
    match numbers.as_chunks::<8>() {
        ([client, sequence], []) => Ok((u64::from_be_bytes(*client), u64::from_be_bytes(*sequence))),
        _ => Err(bad_key(Kind::Answer, row)),
    }
}

/// All answers of a shard.
pub fn answers_range(shard: ShardId) -> KeyRange {
    KeyRange::of_prefix(of_shard(Kind::Answer, shard, 0).freeze())
}

/// All answers of a shard to one client.
pub fn client_answers_range(shard: ShardId, client: u64) -> KeyRange {
    let mut prefix = of_shard(Kind::Answer, shard, 8);
    prefix.put_u64(client);
    KeyRange::of_prefix(prefix.freeze())
}

/// Key of what a shard knows of a client.
pub fn client_key(shard: ShardId, client: u64) -> Bytes {
    let mut row = of_shard(Kind::Client, shard, 8);
    row.put_u64(client);
    row.freeze()
}

/// Client behind the key of what a shard knows of it.
pub fn decode_client_key(row: &[u8]) -> Result<u64, RowError> {
    let client = behind_shard(Kind::Client, row)?;
    client.try_into().map(u64::from_be_bytes).map_err(|_| bad_key(Kind::Client, row))
}

/// All clients of a shard.
pub fn clients_range(shard: ShardId) -> KeyRange {
    KeyRange::of_prefix(of_shard(Kind::Client, shard, 0).freeze())
}

/// Key of the marker that a snapshot is being installed in a shard.
pub fn installing_key(shard: ShardId) -> Bytes {
    of_shard(Kind::Installing, shard, 0).freeze()
}

/// The install markers of all shards.
pub fn installing_range() -> KeyRange {
    KeyRange::of_prefix(begin(Kind::Installing, 0).freeze())
}

/// Key of the state of the meta shard.
pub fn meta_key() -> Bytes {
    begin(Kind::Meta, 0).freeze()
}

fn begin(kind: Kind, behind: usize) -> BytesMut {
    let mut row = BytesMut::with_capacity(1 + behind);
    row.put_u8(kind as u8);
    row
}

fn of_shard(kind: Kind, shard: ShardId, behind: usize) -> BytesMut {
    let mut row = begin(kind, 4 + behind);
    row.put_u32(shard.0);
    row
}

fn behind_shard(kind: Kind, row: &[u8]) -> Result<&[u8], RowError> {
    match row {
        [found, _, _, _, _, behind @ ..] if *found == kind as u8 => Ok(behind),
        _ => Err(bad_key(kind, row)),
    }
}

fn bad_key(kind: Kind, row: &[u8]) -> RowError {
    RowError::BadKey { kind, length: row.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_decodes_to_what_it_was_made_of() {
        assert_eq!(decode_data_key(&data_key(b"somekey")).unwrap(), (11058, &b"somekey"[..]));
        assert_eq!(decode_answer_key(&answer_key(ShardId(7), 8, 9)).unwrap(), (8, 9));
        assert_eq!(decode_client_key(&client_key(ShardId(7), 8)).unwrap(), 8);
        assert_eq!(decode_shard_key(&shard_key(ShardId(7))).unwrap(), ShardId(7));
        assert_eq!(decode_shard_key(&installing_key(ShardId(7))).unwrap(), ShardId(7));
    }

    #[test]
    fn a_key_of_another_kind_or_length_is_refused() {
        assert!(decode_data_key(&shard_key(ShardId(1))).is_err());
        assert!(decode_data_key(&[Kind::Data as u8, 0]).is_err());
        assert!(decode_client_key(&answer_key(ShardId(1), 2, 3)).is_err());
        assert!(decode_answer_key(&client_answers_range(ShardId(1), 2).start).is_err());
        assert!(decode_shard_key(&[Kind::Shard as u8, 0, 0, 0]).is_err());
    }

    #[test]
    fn an_unknown_kind_is_an_error() {
        assert_eq!(Kind::of(&[0x50, 1]), Err(RowError::UnknownKind { found: Some(0x50), length: 2 }));
        assert_eq!(Kind::of(&[]), Err(RowError::UnknownKind { found: None, length: 0 }));
        assert_eq!(Kind::of(&meta_key()), Ok(Kind::Meta));
    }

    #[test]
    fn ranges_hold_their_own_rows_and_no_others() {
        let slots = data_range(SlotRange { start: 5, end: 6 });
        assert!(slots.contains(&data_key_in(5, &[])) && slots.contains(&data_key_in(5, &[0xff; 9])));
        assert!(!slots.contains(&data_key_in(4, &[0xff; 9])) && !slots.contains(&data_key_in(6, &[])));
        let last = client_answers_range(ShardId(u32::MAX), u64::MAX);
        assert!(last.contains(&answer_key(ShardId(u32::MAX), u64::MAX, u64::MAX)));
        assert!(!last.contains(&client_key(ShardId(0), 0)));
        assert!(!answers_range(ShardId(1)).contains(&answer_key(ShardId(2), 0, 0)));
        assert!(clients_range(ShardId(1)).contains(&client_key(ShardId(1), u64::MAX)));
        assert!(data_range(SlotRange::ALL).contains(&data_key_in(16383, b"a")));
    }
}
