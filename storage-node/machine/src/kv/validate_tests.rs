use bytes::Bytes;
use granary_common::limits::{MAX_BATCH, MAX_KEY, MAX_VALUE};
use granary_proto::kv::{
    self, BatchRequest, CompareAndSetRequest, Consistency, DeleteRangeRequest, DeleteRequest, Error, GetRequest, Guard,
    PutRequest, Reason, Retry, ScanCursor, ScanRequest, Stale, TxnRequest, Write, compare_and_set_request, consistency,
    guard::Condition, write::Change,
};

use super::{fixture::*, *};
use crate::errors::code;

fn of_length(length: usize) -> Bytes {
    vec![b'x'; length].into()
}

fn put_of(key: usize, value: usize) -> PutRequest {
    PutRequest { key: of_length(key), value: of_length(value), ..Default::default() }
}

fn put_with(client_id: u64, sequence: u64, answered_below: u64, age_ms: u64) -> PutRequest {
    PutRequest { retry: Some(Retry { client_id, sequence, answered_below, age_ms }), ..put_of(1, 1) }
}

fn batch_of(bytes: usize) -> BatchRequest {
    let write = |length: usize| Write { key: of_length(1), change: Some(Change::Value(of_length(length - 1))) };
    let writes = vec![write(MAX_VALUE), write(MAX_VALUE / 2), write(bytes - MAX_VALUE - MAX_VALUE / 2)];
    BatchRequest { writes, ..Default::default() }
}

fn txn_of(guards: Vec<Guard>, writes: Vec<Write>) -> TxnRequest {
    TxnRequest { guards, writes, ..Default::default() }
}

fn stale(max_staleness_ms: u64) -> GetRequest {
    let kind = Some(consistency::Kind::Stale(Stale { max_staleness_ms }));
    GetRequest { key: of_length(1), consistency: Some(Consistency { kind }), ..Default::default() }
}

fn cas(guard: Option<Guard>, change: Option<compare_and_set_request::Change>) -> CompareAndSetRequest {
    CompareAndSetRequest { expected: guard, change, ..Default::default() }
}

#[test]
fn what_is_within_the_limits_passes_up_to_the_very_limit() {
    assert_eq!(validate_put(&put_of(1, 0)), Ok(()));
    assert_eq!(validate_put(&put_of(MAX_KEY, MAX_VALUE)), Ok(()));
    assert_eq!(validate_batch(&batch_of(MAX_BATCH)), Ok(()));
    let most = BatchRequest { writes: vec![put_write("a", ""); 4096], ..Default::default() };
    assert_eq!(validate_batch(&most), Ok(()));
    assert_eq!(validate_put(&put_with(1, 1, 1, 0)), Ok(()));
    assert_eq!(validate_put(&put_with(1, 1024, 1, 599_999)), Ok(()));
    assert_eq!(validate_get(&stale(1)), Ok(()));
    assert_eq!(validate_get(&stale(86_400_000)), Ok(()));
    assert_eq!(validate_scan(&ScanRequest { page_rows: 10_000, ..Default::default() }), Ok(()));
    assert_eq!(validate_delete_range(&DeleteRangeRequest::default()), Ok(()));
    let txn = txn_of(vec![guard("{t}a", Condition::Revision(1))], vec![put_write("{t}b", "")]);
    assert_eq!(validate_txn(&txn), Ok(()));
}

#[test]
fn each_refusal_names_the_field_its_value_and_what_is_allowed() {
    let invalid = |result: Result<(), Invalid>| result.unwrap_err();
    let slots = txn_of(vec![guard("foo", Condition::Absent(true))], vec![put_write("foo", ""), put_write("bar", "")]);
    let table: Vec<(Invalid, &str, &[&str])> = vec![
        (invalid(validate_put(&put_of(0, 0))), "key", &["empty", "1 to 4096"]),
        (invalid(validate_get(&GetRequest::default())), "key", &["empty", "1 to 4096"]),
        (invalid(validate_delete(&DeleteRequest::default())), "key", &["empty", "1 to 4096"]),
        (invalid(validate_put(&put_of(MAX_KEY + 1, 0))), "key", &["4097", "1 to 4096"]),
        (invalid(validate_put(&put_of(1, MAX_VALUE + 1))), "value", &["4194305", "4194304"]),
        (invalid(validate_batch(&BatchRequest::default())), "writes", &["empty", "1 to 4096"]),
        (invalid(validate_batch(&batch_of(MAX_BATCH + 1))), "writes", &["8388609", "8388608"]),
        (
            invalid(validate_batch(&BatchRequest { writes: vec![put_write("a", ""); 4097], ..Default::default() })),
            "writes",
            &["4097", "4096"],
        ),
        (
            invalid(validate_batch(&BatchRequest {
                writes: vec![put_write("a", ""), put_write("", "")],
                ..Default::default()
            })),
            "writes[1].key",
            &["empty"],
        ),
        (
            invalid(validate_batch(&BatchRequest {
                writes: vec![Write { key: bytes("a"), change: None }],
                ..Default::default()
            })),
            "writes[0].change",
            &["delete = true"],
        ),
        (
            invalid(validate_batch(&BatchRequest {
                writes: vec![Write { key: bytes("a"), change: Some(Change::Delete(false)) }],
                ..Default::default()
            })),
            "writes[0].delete",
            &["only true"],
        ),
        (invalid(validate_txn(&TxnRequest::default())), "writes", &["empty", "guards"]),
        (invalid(validate_txn(&slots)), "writes[1].key", &["slot 5061", "slot 12182", "guards[0].key", "tag"]),
        (
            invalid(validate_txn(&txn_of(vec![guard("a", Condition::Revision(0))], vec![]))),
            "guards[0].revision",
            &["is 0", "absent"],
        ),
        (
            invalid(validate_txn(&txn_of(vec![guard("a", Condition::Absent(false))], vec![]))),
            "guards[0].absent",
            &["only true"],
        ),
        (
            invalid(validate_txn(&txn_of(vec![Guard { key: bytes("a"), condition: None }], vec![]))),
            "guards[0].condition",
            &["absent, present, value and revision"],
        ),
        (invalid(validate_compare_and_set(&cas(None, None))), "expected", &["not set"]),
        (
            invalid(validate_compare_and_set(&cas(Some(guard("a", Condition::Present(true))), None))),
            "change",
            &["delete = true"],
        ),
        (invalid(validate_put(&put_with(0, 1, 1, 0))), "retry.client_id", &["is 0"]),
        (invalid(validate_put(&put_with(1, 0, 1, 0))), "retry.sequence", &["is 0"]),
        (invalid(validate_put(&put_with(1, 5, 0, 0))), "retry.answered_below", &["is 0", "1 to 5"]),
        (invalid(validate_put(&put_with(1, 5, 6, 0))), "retry.answered_below", &["is 6", "1 to 5"]),
        (invalid(validate_put(&put_with(1, 1025, 1, 0))), "retry.answered_below", &["1024", "1025"]),
        (invalid(validate_put(&put_with(1, 1, 1, 600_000))), "retry.age_ms", &["600000"]),
        (invalid(validate_get(&stale(0))), "consistency.stale.max_staleness_ms", &["is 0", "86400000"]),
        (invalid(validate_get(&stale(86_400_001))), "consistency.stale.max_staleness_ms", &["86400001"]),
        (
            invalid(validate_scan(&ScanRequest { page_rows: 10_001, ..Default::default() })),
            "page_rows",
            &["10001", "10000"],
        ),
        (invalid(validate_scan(&ScanRequest { order: 9, ..Default::default() })), "order", &["is 9"]),
        (invalid(validate_scan(&ScanRequest { tag: bytes("{a}"), ..Default::default() })), "tag", &["brace"]),
        (
            invalid(validate_scan(&ScanRequest {
                cursor: Some(ScanCursor { slot: 16384, key: bytes("a") }),
                ..Default::default()
            })),
            "cursor.slot",
            &["16384", "16383"],
        ),
        (
            invalid(validate_delete_range(&DeleteRangeRequest {
                start: bytes("b"),
                end: bytes("a"),
                ..Default::default()
            })),
            "end",
            &["before start"],
        ),
    ];
    for (invalid, field, parts) in table {
        assert_eq!(invalid.field, field, "{invalid}");
        for part in parts {
            assert!(invalid.message.contains(part), "{part:?} is not in {invalid}");
        }
        let late = field == "retry.age_ms";
        assert_eq!(invalid.reason, if late { Reason::OutcomeUnknown } else { Reason::Invalid });
        let error = Error::from(invalid);
        assert_eq!(error.code, if late { code::UNKNOWN } else { code::INVALID_ARGUMENT });
        assert!(error.message.starts_with(&error.field));
    }
}

#[test]
fn an_invalid_request_makes_no_command() {
    assert!(put_command(put_of(0, 0)).is_err());
    assert!(delete_command(DeleteRequest::default()).is_err());
    assert!(compare_and_set_command(cas(None, None)).is_err());
    assert!(txn_command(TxnRequest::default()).is_err());
    assert!(batch_command(BatchRequest::default()).is_err());
    let reversed = DeleteRangeRequest { start: bytes("b"), end: bytes("a"), ..Default::default() };
    assert!(delete_range_command(reversed).is_err());
}

#[test]
fn a_request_becomes_rows_and_an_answer_of_the_wire() {
    let mut shard = Shard::new(granary_common::SlotRange::ALL);
    let put = put_command(PutRequest { key: bytes("a"), value: bytes("1"), ..Default::default() }).unwrap();
    assert_eq!(put_response(SHARD, shard.apply(put)).unwrap().revision, 1);
    let absent = Some(guard("a", Condition::Absent(true)));
    let change = Some(compare_and_set_request::Change::Value(bytes("2")));
    let answer = shard.apply(compare_and_set_command(cas(absent, change)).unwrap());
    let response = compare_and_set_response(SHARD, answer).unwrap();
    let current = kv::Current { key: bytes("a"), found: true, value: bytes("1"), revision: 1 };
    assert_eq!((response.succeeded, response.current), (false, Some(current)));
    let delete = delete_command(DeleteRequest { key: bytes("a"), ..Default::default() }).unwrap();
    let response = delete_response(SHARD, shard.apply(delete)).unwrap();
    assert_eq!((response.existed, response.revision), (true, 2));
}

#[test]
fn an_answer_of_a_wrong_range_becomes_an_error_with_the_range_as_hint() {
    let range = granary_proto::map::SlotRange { start: 3, end: 4 };
    let answer = granary_proto::storage::Answer { kind: Some(granary_proto::storage::answer::Kind::WrongRange(range)) };
    let outcome = shard_outcome(SHARD, Ok(answer));
    let error = outcome.error.unwrap();
    assert_eq!((error.code, error.reason()), (code::UNAVAILABLE, Reason::WrongRange));
    assert_eq!(error.hint.unwrap().range, Some(range));
}

#[test]
fn a_batch_is_split_by_shard_in_its_order() {
    let writes = vec![put_write("foo", "1"), put_write("bar", "2"), put_write("foo", "3"), put_write("hello", "4")];
    let (parts, unknown) = split_writes(writes, |slot| match slot {
        12182 => Some(granary_common::ShardId(2)),
        5061 => Some(granary_common::ShardId(1)),
        _ => None,
    });
    let parts: Vec<_> = parts.into_iter().map(|(shard, writes)| (shard.0, writes)).collect();
    assert_eq!(parts, vec![(1, vec![put_write("bar", "2")]), (2, vec![put_write("foo", "1"), put_write("foo", "3")])]);
    assert_eq!(unknown, vec![put_write("hello", "4")]);
}
