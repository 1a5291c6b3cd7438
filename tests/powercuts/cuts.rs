//! The power of all nodes at once, at random moments, over and over (HAZARDS H3, H4, H6): every acknowledged write is
//! there afterwards, every key is linearizable, and the replicas are equal.

use std::time::Duration;

use bytes::Bytes;
use granary_client::Client;
use granary_powercut::{CutReport, Options, Tear};
use granary_tests::{
    cluster::{Cluster, Shape},
    writer::Writer,
};
use rand::{RngExt as _, rngs::StdRng};
use serde_json::json;

use crate::{
    load::{Checked, Load},
    powered::{Powered, rest},
    report,
    run::{Run, cuts},
};

/// Cuts between two checks of a whole history and of all replicas.
const EPOCH: usize = 12;
/// Small enough that memtables are flushed and logs are purged all the time: both stores get 2 MiB each.
const DISK: u64 = 200 << 20;

/// Cuts the power of all so many times; each time, all that was ever acknowledged is read back.
async fn survives(run: &Run, shape: Shape, cuts: usize) {
    let mut random = run.random(0);
    let options = Options { capacity: Some(DISK), seed: run.seed, ..Options::default() };
    let mut powered = Powered::founded(shape, 0, &options, &[]).await;
    let pause = Duration::from_millis(2);
    let writer = Writer::start(powered.cluster.endpoints(), shape.shards, pause).await.unwrap();
    let (mut lost, mut recovery, mut checked, mut moves) = (CutReport::default(), Vec::new(), Checked::default(), 0);
    let mut load = Load::start(run, powered.cluster.endpoints(), shape.shards, 0).await;
    let large = tokio::spawn(write_large(powered.cluster.client().await.unwrap()));
    for round in 1..=cuts {
        if shape.nodes > shape.factor as usize && round % 3 == 0 {
            moves += 1;
            let moving = moves_a_shard(&powered.cluster, shape, &mut random);
            let time = Duration::from_millis(random_time(run, round));
            // Dropped in the middle: the cluster goes on with it, as far as it was told.
            let _ = tokio::time::timeout(time, moving).await;
        } else {
            rest(random.random_range(0..500)).await;
        }
        let (report, at) = powered.cut_and_start_all_after(Tear::Mixed, random.random(), || load.forget());
        lost += report;
        let again = load.works_again().await;
        recovery.push(again - at);
        let read = writer.check().await.unwrap();
        assert_eq!(read.lost, 0, "behind cut {round}: {:?}", writer.errors());
        if round % EPOCH == 0 || round == cuts {
            checked += load.finish(run).await;
            load = Load::start(run, powered.cluster.endpoints(), shape.shards, round as u64).await;
        }
    }
    checked += load.finish(run).await;
    large.abort();
    let mut writer = writer;
    writer.stop().await;
    let read = writer.check().await.unwrap();
    assert_eq!(read.lost, 0, "{:?}", writer.errors());
    powered.cluster.whole().await.unwrap();
    let rows = powered.cluster.replicas_are_equal().await.unwrap();
    report::note(
        run.name(),
        json!({
            "seed": run.seed, "cuts": cuts, "moves": moves, "recovery": report::times(&recovery),
            "acknowledged": read.acknowledged + checked.acknowledged, "lost": read.lost,
            "operations_checked": checked.operations, "unknown": checked.unknown + writer.unknown(),
            "unsynced_writes": { "kept": lost.writes.kept, "torn": lost.writes.torn, "lost": lost.writes.lost },
            "names_lost": lost.names_lost, "rows": rows,
        }),
    );
    assert!(lost.writes.lost > 0 && checked.acknowledged > 0, "the cuts took nothing: {lost:?}");
}

/// Writes values of many sectors, so that the records of the logs can be torn in all ways.
async fn write_large(client: Client) {
    for number in 0.. {
        // Whether it was done does not matter here.
        let _ =
            client.put(format!("large/{}", number % 16), Bytes::from(vec![number as u8; 1000 + number % 12_000])).await;
        rest(5).await;
    }
}

fn random_time(run: &Run, round: usize) -> u64 {
    run.random(round as u64).random_range(20..900)
}

/// Moves one shard, or the meta shard, to other nodes.
async fn moves_a_shard(cluster: &Cluster, shape: Shape, random: &mut StdRng) {
    let out = random.random_range(1..=shape.nodes as u64);
    let nodes: Vec<u64> = (1..=shape.nodes as u64).filter(|node| *node != out).take(shape.factor as usize).collect();
    let shard = random.random_range(0..=shape.shards);
    cluster.reconfigure(&[(shard, nodes)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_power_of_all_nodes_is_cut_again_and_again() {
    let Some(run) = Run::begin() else { return };
    survives(&run, Shape { nodes: 4, factor: 3, shards: 4 }, cuts(24)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_one_node_loses_nothing_when_its_power_is_cut_again_and_again() {
    let Some(run) = Run::begin() else { return };
    survives(&run, Shape { nodes: 1, factor: 1, shards: 4 }, cuts(8)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_five_copies_loses_nothing_when_the_power_of_all_is_cut_again_and_again() {
    let Some(run) = Run::begin() else { return };
    survives(&run, Shape { nodes: 5, factor: 5, shards: 2 }, cuts(8)).await;
}
