//! Requests that no node can serve: each is refused over unary calls and over a Pipe alike, with the field, its value and
//! what is allowed, and the Pipe goes on.

use bytes::Bytes;
use granary_proto::kv::{pipe_request::Request, pipe_response::Response, *};
use granary_tests::{
    cluster::{Cluster, Shape},
    pipe::{Pipe, unary},
};

const MIB: usize = 1 << 20;

/// What is asked, the field that is named, and words that the message holds.
type Case = (Request, &'static str, &'static [&'static str]);

fn bytes(length: usize) -> Bytes {
    Bytes::from(vec![b'v'; length])
}

fn get(key: Bytes) -> Request {
    Request::Get(GetRequest { key, ..Default::default() })
}

fn put(key: impl Into<Bytes>, value: Bytes) -> Request {
    Request::Put(PutRequest { key: key.into(), value, ..Default::default() })
}

fn write(key: impl Into<Bytes>, value: Bytes) -> Write {
    Write { key: key.into(), change: Some(write::Change::Value(value)) }
}

fn batch(writes: Vec<Write>) -> Request {
    Request::Batch(BatchRequest { writes, ..Default::default() })
}

fn txn(guards: Vec<Guard>, writes: Vec<Write>) -> Request {
    Request::Txn(TxnRequest { guards, writes, ..Default::default() })
}

fn guard(key: &'static str, condition: guard::Condition) -> Guard {
    Guard { key: key.into(), condition: Some(condition) }
}

fn with_retry(retry: Retry) -> Request {
    Request::Put(PutRequest { key: "key".into(), value: "value".into(), retry: Some(retry), routing: None })
}

fn cases() -> Vec<Case> {
    let stale = |max_staleness_ms| Consistency { kind: Some(consistency::Kind::Stale(Stale { max_staleness_ms })) };
    let over = |count: usize| (0..=count).map(|number| write(format!("{{t}}{number}"), bytes(MIB))).collect::<Vec<_>>();
    let many: Vec<Write> = (0..4097).map(|number| write(format!("{{t}}{number}"), bytes(1))).collect();
    let retry = |sequence, answered_below| Retry { client_id: 7, sequence, answered_below, age_ms: 0 };
    vec![
        (get(bytes(0)), "key", &["empty", "1 to 4096"]),
        (get(bytes(4097)), "key", &["4097 bytes", "1 to 4096"]),
        (put(bytes(0), bytes(1)), "key", &["empty", "1 to 4096"]),
        (put(bytes(4097), bytes(1)), "key", &["4097 bytes", "1 to 4096"]),
        (put("key", bytes(4 * MIB + 1)), "value", &["4194305 bytes", "0 to 4194304"]),
        (batch(vec![]), "writes", &["empty", "1 to 4096"]),
        (batch(over(8)), "writes", &["up to 8388608"]),
        (batch(many.clone()), "writes", &["4097 items", "up to 4096"]),
        (batch(vec![write("a", bytes(1)), write("", bytes(1))]), "writes[1].key", &["empty"]),
        (batch(vec![Write { key: "a".into(), change: None }]), "writes[0].change", &["not set"]),
        (txn(vec![], vec![]), "writes", &["empty", "guards"]),
        (txn(vec![], many), "writes", &["4097 items", "up to 4096"]),
        (txn(vec![], over(8)), "guards and writes", &["up to 8388608"]),
        (
            txn(vec![], vec![write("{a}1", bytes(1)), write("{b}1", bytes(1))]),
            "writes[1].key",
            &["slot 15495", "slot 3300", "{tag}"],
        ),
        (txn(vec![guard("k", guard::Condition::Revision(0))], vec![]), "guards[0].revision", &["is 0", "from 1"]),
        (
            Request::CompareAndSet(CompareAndSetRequest {
                expected: Some(guard("k", guard::Condition::Revision(0))),
                change: Some(compare_and_set_request::Change::Delete(true)),
                ..Default::default()
            }),
            "expected.revision",
            &["is 0", "from 1"],
        ),
        (
            Request::Get(GetRequest { key: "k".into(), consistency: Some(stale(0)), routing: None }),
            "consistency.stale.max_staleness_ms",
            &["is 0", "1 to 86400000"],
        ),
        (with_retry(Retry { client_id: 0, ..retry(1, 1) }), "retry.client_id", &["is 0"]),
        (with_retry(retry(0, 1)), "retry.sequence", &["is 0"]),
        (with_retry(retry(5, 6)), "retry.answered_below", &["is 6", "1 to 5"]),
        (with_retry(retry(1025, 1)), "retry.answered_below", &["1024"]),
        (with_retry(Retry { age_ms: 600_000, ..retry(1, 1) }), "retry.age_ms", &["600000"]),
        (Request::Scan(ScanRequest { shard_id: 99, ..Default::default() }), "shard_id", &["99", "1 to 4"]),
        (Request::Scan(ScanRequest { page_rows: 10_001, ..Default::default() }), "page_rows", &["10001", "10000"]),
        (Request::Scan(ScanRequest { start: "b".into(), end: "a".into(), ..Default::default() }), "end", &["start"]),
        (
            Request::DeleteRange(DeleteRangeRequest { shard_id: 99, ..Default::default() }),
            "shard_id",
            &["99", "1 to 4"],
        ),
        (Request::DeleteRange(DeleteRangeRequest { tag: "{a}".into(), ..Default::default() }), "tag", &["brace"]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_range_is_refused_by_field_value_and_what_is_allowed() {
    let cluster = Cluster::found(Shape { nodes: 1, factor: 1, shards: 4 }).await.unwrap();
    let node = &cluster.nodes[0];
    let mut pipe = Pipe::open(node).await.unwrap();
    let mut wrong = Vec::new();
    for (request, field, words) in cases() {
        let kind = format!("{request:?}").chars().take(40).collect::<String>();
        let answers = [unary(node, request.clone()).await, pipe.ask(request).await];
        for (way, answer) in ["unary", "Pipe"].into_iter().zip(answers) {
            match answer {
                Ok(Response::Error(error)) => {
                    let named = error.field == field && words.iter().all(|word| error.message.contains(word));
                    let refused = matches!(error.reason(), Reason::Invalid | Reason::OutcomeUnknown);
                    if !(named && refused) {
                        wrong.push(format!("{way} {kind}: wanted {field} {words:?}, got {error:?}"));
                    }
                }
                other => wrong.push(format!("{way} {kind}: wanted a refusal of {field}, got {other:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(matches!(pipe.ask(put("key", bytes(1))).await.unwrap(), Response::Put(_)), "the Pipe goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_of_a_message_ends_that_call_only() {
    let cluster = Cluster::found(Shape { nodes: 1, factor: 1, shards: 4 }).await.unwrap();
    let node = &cluster.nodes[0];
    let mut kv = node.kv().unwrap().max_encoding_message_size(64 * MIB);
    let huge = PutRequest { key: "key".into(), value: bytes(17 * MIB), ..Default::default() };
    let refused = kv.put(huge).await.unwrap_err();
    assert!(refused.message().contains("16777216"), "{refused}");
    let small = PutRequest { key: "key".into(), value: bytes(1), ..Default::default() };
    assert!(kv.put(small).await.unwrap().into_inner().revision > 0);
}
