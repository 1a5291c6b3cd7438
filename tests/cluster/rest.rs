//! Shards of which nobody asks for anything: their groups rest, and are there when somebody does.

use std::time::Instant;

use granary_proto::kv::{pipe_response::Response, *};
use granary_tests::{
    cluster::Cluster,
    http,
    node::{LIMIT, Node},
    pipe::unary,
    wait::until,
};

const SHARDS: u32 = 4;
/// With the meta shard.
const GROUPS: u64 = SHARDS as u64 + 1;

async fn metric(node: &Node, name: &str) -> Result<u64, String> {
    let (_, page) = http::get(node.ports.metrics, "/metrics").await.map_err(|error| error.to_string())?;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).ok_or_else(|| format!("{name} is not on the page"))
}

async fn sum(nodes: &[&Node], name: &str) -> Result<u64, String> {
    let mut sum = 0;
    for node in nodes {
        sum += metric(node, name).await?;
    }
    Ok(sum)
}

/// A cluster of three with a key in each of four shards, of which all groups rest.
async fn at_rest() -> Cluster {
    let cluster = Cluster::of_three(SHARDS).await.unwrap();
    cluster.client().await.unwrap().put("key", "value").await.unwrap();
    all_rest(&cluster).await;
    cluster
}

async fn all_rest(cluster: &Cluster) {
    let nodes: Vec<&Node> = cluster.nodes.iter().collect();
    until("all groups rest", LIMIT, || async {
        match sum(&nodes, "granary_quiesced").await? {
            all if all == 3 * GROUPS => Ok(()),
            some => Err(format!("{some} of {} rest", 3 * GROUPS)),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_at_rest_answers_its_first_requests_and_rests_again() {
    let cluster = at_rest().await;
    let client = cluster.client().await.unwrap();
    for round in 0..3 {
        let began = Instant::now();
        assert!(client.get("key").await.unwrap().is_some());
        let read = began.elapsed();
        all_rest(&cluster).await;
        let began = Instant::now();
        client.put("key", format!("value {round}")).await.unwrap();
        println!("at rest a read took {read:?}, a write {:?}", began.elapsed());
        all_rest(&cluster).await;
    }
    assert_eq!(client.get("key").await.unwrap().unwrap().value, "value 2");
}

/// At rest it is told how old it is once a second only.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_at_rest_serves_a_stale_read_within_a_bound_of_half_a_second() {
    let cluster = at_rest().await;
    for node in &cluster.nodes {
        all_rest(&cluster).await;
        let consistency = Some(Consistency { kind: Some(consistency::Kind::Stale(Stale { max_staleness_ms: 500 })) });
        let get = GetRequest { key: "key".into(), consistency, routing: None };
        match unary(node, pipe_request::Request::Get(get)).await.unwrap() {
            Response::Get(got) => assert_eq!(got.value, "value"),
            other => panic!("{}: {other:?}", node.name),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stands_still_while_all_rests_is_replaced_as_leader_though_nobody_asks() {
    let cluster = at_rest().await;
    for (place, paused) in cluster.nodes.iter().enumerate() {
        all_rest(&cluster).await;
        let led = metric(paused, "granary_leaders").await.unwrap();
        paused.pause();
        let began = Instant::now();
        let others: Vec<&Node> = cluster.nodes.iter().filter(|node| node.name != paused.name).collect();
        until("the others lead everything", LIMIT, || async {
            match sum(&others, "granary_leaders").await? {
                all if all >= GROUPS => Ok(()),
                some => Err(format!("{some} of {GROUPS} have a leader there")),
            }
        })
        .await
        .unwrap();
        println!("node at place {place} led {led}; the others did behind {:?}", began.elapsed());
        paused.resume();
        cluster.whole().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_to_a_shard_at_rest_whose_leader_stands_still_is_done_within_some_patience() {
    let cluster = at_rest().await;
    let client = cluster.client().await.unwrap();
    // A power of two of shards divides the slots evenly.
    let shard = u32::from(granary_common::slot_of(b"key")) * SHARDS / 16_384 + 1;
    for round in 0..5 {
        let leader = &cluster.nodes[cluster.place(cluster.leader(shard).await.unwrap()).await.unwrap()];
        all_rest(&cluster).await;
        leader.pause();
        let began = Instant::now();
        client.put("key", format!("round {round}")).await.unwrap();
        println!("written behind {:?}", began.elapsed());
        leader.resume();
        cluster.whole().await.unwrap();
    }
    assert_eq!(client.get("key").await.unwrap().unwrap().value, "round 4");
}
