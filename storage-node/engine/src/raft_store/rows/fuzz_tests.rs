//! The rows of the log, damaged in every way: a flipped bit is always found, and nothing else than what was written is
//! ever taken for it.

use granary_fuzz::{cases, damage, memory, wire};
use granary_proto::storage::ReplicaRecord;
use proptest::{collection::vec, prelude::*};

use super::*;

#[global_allocator]
static MEMORY: memory::Counted = memory::Counted;

fn entry() -> impl Strategy<Value = (LogId, Entry)> {
    let ids = (any::<u32>(), any::<u64>(), wire::number(), wire::number());
    (ids, any::<bool>(), vec(any::<u8>(), 0..60), vec(any::<u8>(), 0..20)).prop_map(
        |((shard, replica, index, term), change, data, context)| {
            let kind = if change { EntryKind::ConfChange } else { EntryKind::Normal };
            let log = LogId { shard: ShardId(shard), replica: ReplicaId(replica) };
            (log, Entry { index, term, kind, data: data.into(), context: context.into() })
        },
    )
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn a_flipped_bit_of_an_entry_or_of_its_key_is_found((log, entry) in entry()) {
        let key = entry_key(log, entry.index);
        let value = encode_entry(&key, &entry);
        prop_assert_eq!(decode_entry(&key, entry.index, &value).ok(), Some(entry.clone()));
        for flipped in damage::single_flips(&value) {
            prop_assert!(decode_entry(&key, entry.index, &flipped).is_err());
        }
        for flipped in damage::single_flips(&key) {
            prop_assert!(decode_entry(&flipped, entry.index, &value).is_err());
        }
    }

    #[test]
    fn a_damaged_entry_is_refused((log, entry) in entry(), damages in damage::damages()) {
        let key = entry_key(log, entry.index);
        let value = encode_entry(&key, &entry);
        let damaged = damage::apply(&damages, &value);
        let decoded = memory::bounded(damaged.len(), 16, || decode_entry(&key, entry.index, &damaged));
        prop_assert_eq!(decoded.is_ok(), damaged == value);
    }

    /// A checksum that fits does not make the rest good: whoever wrote it may have been wrong.
    #[test]
    fn sealed_bytes_of_any_kind_decode_or_are_refused((log, entry) in entry(), bytes in vec(any::<u8>(), 0..80)) {
        let key = entry_key(log, entry.index);
        let sealed = seal(&key, bytes);
        if let Ok(decoded) = memory::bounded(sealed.len(), 16, || decode_entry(&key, entry.index, &sealed)) {
            prop_assert_eq!(encode_entry(&key, &decoded), sealed.clone());
        }
        let _ = decode_log_state(&key, &sealed);
        let _ = decode_u64(&key, &sealed);
        let _ = decode_message::<ReplicaRecord>(&key, &sealed);
    }

    #[test]
    fn a_log_state_is_what_was_written_or_is_refused(
        numbers in any::<[u64; 5]>(),
        (log, _) in entry(),
        damages in damage::damages(),
    ) {
        let [term, vote, commit, index, truncated_term] = numbers;
        let state = LogState {
            hard_state: HardState { term, vote, commit },
            truncated: Position { index, term: truncated_term },
        };
        let key = log_state_key(log);
        let value = encode_log_state(&key, &state);
        prop_assert_eq!(decode_log_state(&key, &value).ok(), Some(state));
        for damaged in damage::single_flips(&value).chain([damage::apply(&damages, &value)]) {
            prop_assert_eq!(decode_log_state(&key, &damaged).is_ok(), damaged == value);
        }
    }

    #[test]
    fn keys_of_any_bytes_are_parsed_or_refused(key in vec(any::<u8>(), 0..24), (log, entry) in entry()) {
        if let Ok((log, index)) = parse_entry_key(&key) {
            prop_assert_eq!(&entry_key(log, index)[1..], &key[1..]);
        }
        let _ = (parse_log_state_key(&key), parse_record_key(&key), parse_incarnation_key(&key));
        prop_assert_eq!(parse_entry_key(&entry_key(log, entry.index)).ok(), Some((log, entry.index)));
    }
}
