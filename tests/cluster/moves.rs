//! Replicas that move under a writer: a leader's own removal, and a group's only voter.

use std::time::Duration;

use granary_tests::{
    cluster::{Cluster, Shape},
    node::LIMIT,
    wait::until,
    writer::Writer,
};

const PAUSE: Duration = Duration::from_millis(1);

/// Waits for acknowledgements of writes that began behind this call.
async fn goes_on(writer: &Writer) {
    let before = writer.acknowledged();
    until("writes go on", LIMIT, || {
        let done = writer.acknowledged() - before;
        std::future::ready(if done >= 50 { Ok(()) } else { Err(format!("{done} of 50")) })
    })
    .await
    .unwrap();
}

/// Ends the writer, and checks all it wrote and that the replicas are equal.
async fn nothing_is_lost(cluster: &Cluster, mut writer: Writer) {
    println!("longest gap {:?}, {} unknown", writer.take_longest_gap(), writer.unknown());
    assert_eq!(writer.unknown(), 0, "a move makes no write fail: {:?}", writer.errors());
    writer.stop().await;
    let checked = writer.check().await.unwrap();
    println!("{checked:?}");
    assert_eq!(checked.lost, 0, "{:?}", writer.errors());
    cluster.replicas_are_equal().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_removal_of_leaders_under_load_leaves_every_shard_with_a_writable_leader() {
    let shards = 8;
    let cluster = Cluster::found(Shape { nodes: 4, factor: 3, shards }).await.unwrap();
    let writer = Writer::start(cluster.endpoints(), shards, PAUSE).await.unwrap();
    goes_on(&writer).await;
    let before = cluster.whole().await.unwrap();
    let leads = |node: u64| before.shards.iter().filter(|shard| shard.leader_node_id == node).count();
    let busiest = (1..=4).max_by_key(|node| leads(*node)).unwrap();
    println!("node {busiest} leads {} shards, and gives up all its replicas", leads(busiest));
    // Every shard goes to the three others; of those that it leads, the leader is taken out.
    let others: Vec<u64> = (1..=4).filter(|node| *node != busiest).collect();
    let away: Vec<(u32, Vec<u64>)> = (0..=shards).map(|shard| (shard, others.clone())).collect();
    cluster.reconfigure(&away).await.unwrap();
    let state = cluster.whole().await.unwrap();
    assert!(state.shards.iter().all(|shard| shard.leader_node_id != busiest && shard.leader_node_id != 0));
    goes_on(&writer).await;
    nothing_is_lost(&cluster, writer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_voter_of_a_factor_of_1_moves_under_load_and_back() {
    let shards = 4;
    let cluster = Cluster::found(Shape { nodes: 2, factor: 1, shards }).await.unwrap();
    let writer = Writer::start(cluster.endpoints(), shards, PAUSE).await.unwrap();
    for node in [2, 1] {
        goes_on(&writer).await;
        let targets: Vec<(u32, Vec<u64>)> = (0..=shards).map(|shard| (shard, vec![node])).collect();
        cluster.reconfigure(&targets).await.unwrap();
        let state = cluster.whole().await.unwrap();
        assert!(state.shards.iter().all(|shard| shard.leader_node_id == node), "{state:?}");
    }
    goes_on(&writer).await;
    nothing_is_lost(&cluster, writer).await;
}
