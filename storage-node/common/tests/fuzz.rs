//! Every key has one slot, and it is that of Redis Cluster's rule, written down here a second time.
#![allow(missing_docs)]

use granary_common::{SLOTS, SlotRange, crc16, routed_part, slot_of};
use granary_fuzz::cases;
use proptest::{collection::vec, prelude::*};

/// CRC16/XMODEM, a bit at a time.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

/// The rule as the specification words it.
fn tag(key: &[u8]) -> &[u8] {
    for open in 0..key.len() {
        if key[open] == b'{' {
            for close in open + 1..key.len() {
                if key[close] == b'}' {
                    return if close == open + 1 { key } else { &key[open + 1..close] };
                }
            }
            return key;
        }
    }
    key
}

proptest! {
    #![proptest_config(cases(4_096))]

    #[test]
    fn the_slot_of_a_key_is_that_of_its_tag(
        key in vec(prop_oneof![any::<u8>(), Just(b'{'), Just(b'}')], 0..24),
    ) {
        prop_assert_eq!(routed_part(&key), tag(&key));
        prop_assert_eq!(crc16(&key), crc(&key));
        prop_assert!(slot_of(&key) < SLOTS);
        prop_assert_eq!(slot_of(&key), crc(tag(&key)) % SLOTS);
    }

    #[test]
    fn each_slot_is_owned_by_one_shard_however_many_there_are(power in 0..11_u32, slot in 0..SLOTS) {
        let count = 1_u32 << power;
        let owners = (0..count).filter(|index| SlotRange::of_shard(*index, count).contains(slot)).count();
        prop_assert_eq!(owners, 1);
    }

    #[test]
    fn a_range_of_any_shard_of_any_count_is_one(index in any::<u32>(), count in any::<u32>()) {
        let range = SlotRange::of_shard(index % 65_536, count % 65_536);
        prop_assert!(range.start <= range.end && range.end <= SLOTS);
    }
}
