//! A replica that gets its shard as a snapshot, and dies at each step of its install: it recovers by itself.

use std::time::Duration;

use bytes::Bytes;
use granary_client::{Client, Write};
use granary_common::SlotRange;
use granary_tests::{
    cluster::{Cluster, Shape},
    node::LIMIT,
    wait::until,
    writer::{Writer, tag_in},
};

const SHARDS: u32 = 4;
/// Documented for tests where the node reads it.
const CRASH_AT: &str = "GRANARY_CRASH_AT_INSTALL";
const KIB: usize = 1024;

/// Writes `count` values of 64 KiB into a shard.
async fn load(client: &Client, shard: u32, count: usize) {
    let tag = tag_in(SlotRange::of_shard(shard - 1, SHARDS));
    let value = Bytes::from(vec![shard as u8; 64 * KIB]);
    let writes = (0..count).map(|number| Write::put(format!("load/{{{tag}}}/{number}"), value.clone())).collect();
    for part in client.batch(writes).await.unwrap() {
        part.result.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_that_dies_at_any_step_recovers_by_itself() {
    let mut cluster = Cluster::of_three(SHARDS).await.unwrap();
    let client = cluster.client().await.unwrap();
    for shard in 1..=SHARDS {
        load(&client, shard, 40).await;
    }
    let fourth = cluster.add().await.unwrap();
    for (shard, step) in (1..).zip(["emptied", "ingested", "done"]) {
        println!("the install of shard {shard} ends behind {step:?}");
        cluster.nodes[fourth].kill();
        cluster.nodes[fourth].env = vec![(CRASH_AT.into(), step.into())];
        cluster.nodes[fourth].start().unwrap();
        cluster.nodes[fourth].identify().await.unwrap();
        cluster.reconfigure(&[(shard, vec![1, 2, 4])]).await.unwrap();
        let ended = cluster.nodes[fourth].ended().await.unwrap();
        assert!(!ended.success() && cluster.nodes[fourth].log().contains("as a test asked"), "{ended}");
        cluster.nodes[fourth].env.clear();
        cluster.nodes[fourth].start().unwrap();
        cluster.whole().await.unwrap();
    }
    let rows = cluster.replicas_are_equal().await.unwrap();
    assert!(rows >= 160, "{rows} rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_killed_while_its_snapshot_is_on_its_way_gets_it_in_the_end() {
    let slow = [("GRANARY_SNAPSHOT_BANDWIDTH_MIB", "4")];
    let shape = Shape { nodes: 4, factor: 3, shards: SHARDS };
    let mut cluster = Cluster::found_with(shape, &slow).await.unwrap();
    // Shard 3 lies on nodes 4, 1, 2: node 3 gets it anew, about 20 MiB in 5 s.
    load(&cluster.client().await.unwrap(), 3, 320).await;
    cluster.reconfigure(&[(3, vec![4, 1, 3])]).await.unwrap();
    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(500 * round)).await;
        cluster.nodes[2].kill();
        cluster.nodes[2].start().unwrap();
        cluster.nodes[2].identify().await.unwrap();
    }
    cluster.whole().await.unwrap();
    let rows = cluster.replicas_are_equal().await.unwrap();
    assert!(rows >= 320, "{rows} rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_added_to_a_loaded_shard_gets_a_snapshot_while_writes_go_on() {
    let mut cluster = Cluster::of_three(SHARDS).await.unwrap();
    load(&cluster.client().await.unwrap(), 1, 100).await;
    let mut writer = Writer::start(cluster.endpoints(), SHARDS, Duration::from_millis(1)).await.unwrap();
    cluster.add().await.unwrap();
    cluster.reconfigure(&[(1, vec![2, 3, 4])]).await.unwrap();
    cluster.whole().await.unwrap();
    let before = writer.acknowledged();
    until("writes go on", LIMIT, || {
        std::future::ready(if writer.acknowledged() > before + 50 { Ok(()) } else { Err("not yet".into()) })
    })
    .await
    .unwrap();
    println!("longest gap {:?}", writer.take_longest_gap());
    writer.stop().await;
    assert_eq!(writer.check().await.unwrap().lost, 0, "{:?}", writer.errors());
    let rows = cluster.replicas_are_equal().await.unwrap();
    assert!(rows >= 100, "{rows} rows");
}
