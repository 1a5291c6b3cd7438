//! Batches are split by shard and by size.

use std::collections::BTreeMap;

use granary_client::{Error, Options, Write};
use granary_common::{SlotRange, slot_of};
use granary_proto::kv::{
    BatchResponse, PipeRequest, Reason, ShardOutcome, pipe_request::Request as Asked, pipe_response::Response as Answer,
};

use crate::fake::{Cluster, Reply, error};

const SHARDS: u32 = 4;

fn shard_of(key: &[u8]) -> u32 {
    (1..=SHARDS).find(|id| SlotRange::of_shard(id - 1, SHARDS).contains(slot_of(key))).unwrap()
}

fn writes_of(request: &PipeRequest) -> &[granary_proto::kv::Write] {
    match &request.request {
        Some(Asked::Batch(batch)) => &batch.writes,
        other => panic!("{other:?}"),
    }
}

fn done(request: &PipeRequest) -> Answer {
    let shard_id = shard_of(&writes_of(request)[0].key);
    Answer::Batch(BatchResponse { outcomes: vec![ShardOutcome { shard_id, revision: 5, error: None }] })
}

#[tokio::test]
async fn each_request_holds_keys_of_one_shard_in_order_and_none_is_left_out() {
    let cluster = Cluster::start(1, SHARDS).await;
    cluster.nodes[0].script(|request| Reply::With(done(request)));
    let client = cluster.client(Options::default()).await;
    let writes: Vec<_> = (0..20_000).map(|n| Write::put(format!("k{}", n % 15_000), format!("{n}"))).collect();
    let parts = client.batch(writes.clone()).await.unwrap();
    assert!(parts.iter().all(|part| matches!(part.result, Ok(5))), "{parts:?}");
    assert_eq!(parts.iter().map(|part| part.writes).sum::<usize>(), 20_000);

    let mut arrived: BTreeMap<u32, Vec<granary_proto::kv::Write>> = BTreeMap::new();
    for request in cluster.nodes[0].seen() {
        let part = writes_of(&request);
        assert!((1..=4096).contains(&part.len()));
        let shard = shard_of(&part[0].key);
        assert!(part.iter().all(|write| shard_of(&write.key) == shard));
        arrived.entry(shard).or_default().extend_from_slice(part);
    }
    for (shard, arrived) in arrived {
        let sent = writes.iter().filter(|write| shard_of(&write.key) == shard).cloned().map(Into::into);
        assert_eq!(arrived, sent.collect::<Vec<granary_proto::kv::Write>>(), "shard {shard}");
    }
}

#[tokio::test]
async fn a_part_that_fails_is_told_apart_from_those_that_were_done() {
    let cluster = Cluster::start(1, SHARDS).await;
    cluster.nodes[0].script(|request| match shard_of(&writes_of(request)[0].key) {
        2 => Reply::With(error(Reason::ReadOnly, "disk nearly full")),
        _ => Reply::With(done(request)),
    });
    let client = cluster.client(Options::default()).await;
    let parts = client.batch((0..100).map(|n| Write::put(format!("k{n}"), "v")).collect()).await.unwrap();
    assert_eq!(parts.iter().map(|part| part.shard_id).collect::<Vec<_>>(), [1, 2, 3, 4]);
    for part in parts {
        match part.shard_id {
            2 => assert!(matches!(part.result, Err(Error::ReadOnly { .. })), "{part:?}"),
            _ => assert!(part.result.is_ok(), "{part:?}"),
        }
    }
}
