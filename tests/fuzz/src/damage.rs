//! What becomes of good bytes on a bad disk, on a bad way, or in bad hands.

use proptest::{collection::vec, prelude::*, sample::Index};

/// One change.
#[derive(Clone, Debug)]
pub enum Damage {
    /// One bit is another.
    Flip(Index, u8),
    /// One byte is another.
    Set(Index, u8),
    /// The rest is gone.
    Cut(Index),
    /// Something is behind it.
    Extend(Vec<u8>),
    /// A piece (from, length) is also at a third place.
    Splice(Index, Index, Index),
    /// A piece is gone from the middle.
    Remove(Index, Index),
    /// A block of zeros, as a torn write leaves it.
    Zero(Index, Index),
}

/// One to four changes, one behind the other.
pub fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let index = any::<Index>;
    let byte = prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(0x80)];
    let one = prop_oneof![
        4 => (index(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        2 => (index(), byte).prop_map(|(at, byte)| Damage::Set(at, byte)),
        2 => index().prop_map(Damage::Cut),
        1 => vec(any::<u8>(), 1..40).prop_map(Damage::Extend),
        1 => (index(), index(), index()).prop_map(|(from, length, to)| Damage::Splice(from, length, to)),
        1 => (index(), index()).prop_map(|(from, length)| Damage::Remove(from, length)),
        1 => (index(), index()).prop_map(|(from, length)| Damage::Zero(from, length)),
    ];
    vec(one, 1..5)
}

/// The bytes behind all of it. They may be as they were, for a byte can be set to what it was.
pub fn apply(damages: &[Damage], good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for damage in damages {
        let length = bytes.len();
        let piece = |from: &Index, size: &Index| {
            let from = from.index(length.max(1)).min(length);
            from..from + size.index(length - from + 1)
        };
        match damage {
            Damage::Extend(more) => bytes.extend(more),
            _ if bytes.is_empty() => {}
            Damage::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Damage::Set(at, byte) => bytes[at.index(length)] = *byte,
            Damage::Cut(at) => bytes.truncate(at.index(length)),
            Damage::Splice(from, size, to) => {
                let copied = bytes[piece(from, size)].to_vec();
                let to = to.index(length + 1);
                bytes.splice(to..to, copied);
            }
            Damage::Remove(from, size) => drop(bytes.drain(piece(from, size))),
            Damage::Zero(from, size) => bytes[piece(from, size)].fill(0),
        }
    }
    bytes
}

/// Each of the bytes' bits flipped by itself, one after the other.
pub fn single_flips(good: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..good.len() * 8).map(|bit| {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_is_flipped_once() {
        let flipped: Vec<_> = single_flips(&[0, 0]).collect();
        assert_eq!(flipped.len(), 16);
        assert!(flipped.iter().all(|bytes| bytes.iter().map(|byte| byte.count_ones()).sum::<u32>() == 1));
    }

    proptest! {
        #[test]
        fn damage_of_any_kind_is_done_to_bytes_of_any_length(damages in damages(), good in vec(any::<u8>(), 0..20)) {
            let damaged = apply(&damages, &good);
            prop_assert!(damaged.len() <= good.len() * 16 + 200);
        }
    }
}
