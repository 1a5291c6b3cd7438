//! Which slot a key belongs to: Redis Cluster's rule exactly, so that a Redis Cluster client can route to our nodes.
//!
//! Source: Redis Cluster specification, "Key distribution model" and "Hash tags"; CRC16 is XMODEM (polynomial 0x1021,
//! initial value 0).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Number of slots. A slot is a number from 0 to 16383.
pub const SLOTS: u16 = 16384;

const TABLE: [u16; 256] = {
    let mut table = [0u16; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// CRC16/XMODEM of `bytes`.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

/// The part of a key that decides its slot: what is between the first `{` and the first `}` behind it when that is not
/// empty, else the whole key.
pub fn routed_part(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&b| b == b'{') else { return key };
    let behind = &key[open + 1..];
    match behind.iter().position(|&b| b == b'}') {
        Some(length) if length > 0 => &behind[..length],
        _ => key,
    }
}

/// The slot of `key`, 0 to 16383.
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(routed_part(key)) % SLOTS
}

/// Slots `start..end`, with `start <= end <= 16384`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotRange {
    /// First slot.
    pub start: u16,
    /// One behind the last slot.
    pub end: u16,
}

impl SlotRange {
    /// All slots.
    pub const ALL: Self = Self { start: 0, end: SLOTS };
    /// No slot: what the meta shard owns.
    pub const NONE: Self = Self { start: 0, end: 0 };

    /// The range of the `index`-th (from 0) of `count` shards; `count` is a power of two up to 1024.
    pub fn of_shard(index: u32, count: u32) -> Self {
        let width = u32::from(SLOTS) / count.max(1);
        let start = (index * width).min(u32::from(SLOTS));
        let end = (start + width).min(u32::from(SLOTS));
        Self { start: start as u16, end: end as u16 }
    }

    /// Whether `slot` is in the range.
    pub fn contains(self, slot: u16) -> bool {
        self.start <= slot && slot < self.end
    }

    /// Whether the two share a slot.
    pub fn overlaps(self, other: Self) -> bool {
        self.start.max(other.start) < self.end.min(other.end)
    }

    /// Whether it holds no slot.
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

impl fmt::Display for SlotRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slots {}..{}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc16_of_the_specifications_test_vector_is_31c3() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn slots_equal_those_that_redis_cluster_gives() {
        // CLUSTER KEYSLOT of a Redis 7 server.
        for (key, slot) in
            [("somekey", 11058), ("foo{hash_tag}", 2515), ("foo", 12182), ("bar", 5061), ("hello", 866), ("", 0)]
        {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn only_the_first_non_empty_tag_decides_the_slot() {
        assert_eq!(routed_part(b"{user1000}.following"), b"user1000");
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(routed_part(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(routed_part(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(routed_part(b"foo{bar}{zap}"), b"bar");
        assert_eq!(routed_part(b"foo{bar"), b"foo{bar");
        assert_eq!(routed_part(b"foo}bar{"), b"foo}bar{");
    }

    #[test]
    fn shards_of_every_count_cover_each_slot_once() {
        for power in 0..=10 {
            let count = 1 << power;
            let mut next = 0;
            for index in 0..count {
                let range = SlotRange::of_shard(index, count);
                assert_eq!(range.start, next);
                assert!(!range.is_empty());
                next = range.end;
            }
            assert_eq!(next, SLOTS);
        }
    }
}
