//! A disk that hangs for good (HAZARDS H24): its node gives its leaders away within seconds, and ends itself when that has
//! lasted too long, while the node could still speak. And disks that are all slow: nobody hands leaders round and round.

use std::time::{Duration, Instant};

use granary_powercut::{Effect, Fault, Operation, Options};
use granary_tests::{cluster::Shape, http, node::LIMIT, wait::until};
use serde_json::json;

use crate::{load::Load, powered::Powered, report, run::Run};

const SHAPE: Shape = Shape { nodes: 3, factor: 3, shards: 4 };
/// In s.
const HANGS: (u64, &str) = (10, "10");
/// Exit code of a node whose disk failed or hung.
const DISK_FAILED: i32 = 74;

async fn founded(run: &Run, env: &[(&str, &str)]) -> (Powered, Load) {
    let options = Options { seed: run.seed, ..Options::default() };
    let powered = Powered::founded(SHAPE, 0, &options, env).await;
    let load = Load::start(run, powered.cluster.endpoints(), SHAPE.shards, 0).await;
    load.goes_on(100).await;
    (powered, load)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_log_cannot_be_synced_gives_its_leaders_away_and_then_ends_itself() {
    let Some(run) = Run::begin() else { return };
    let (mut powered, load) = founded(&run, &[("GRANARY_DISK_HANGS_SECONDS", HANGS.1)]).await;
    let (victim, id) = (0, powered.cluster.nodes[0].id().await.unwrap());
    let fault = powered.disk(victim).inject(Fault::new(&[Operation::Sync], Effect::Stall).on("**/raft/*.log"));
    until("a sync waits", LIMIT, || {
        std::future::ready(if powered.disk(victim).waiting() > 0 { Ok(()) } else { Err("not yet".to_owned()) })
    })
    .await
    .unwrap();
    let began = Instant::now();
    // It serves, hears its leaders and is heard: only its log does not go on.
    let state = powered
        .cluster
        .state_until("its leaders are elsewhere", LIMIT, |state| {
            let led = state.shards.iter().filter(|shard| shard.leader_node_id == id).count();
            let node = state.nodes.iter().find(|node| node.node_id == id);
            match (led, node) {
                (0, Some(node)) if node.slow => Ok(()),
                _ => Err(format!("it leads {led} shards: {node:?}")),
            }
        })
        .await
        .unwrap();
    let moved = began.elapsed();
    assert!(state.nodes.iter().all(|node| node.silent_for_ms < 2_000), "{:?}", state.nodes);
    let ports = powered.cluster.nodes[victim].ports;
    let (_, metrics) = http::get(ports.metrics, "/metrics").await.unwrap();
    assert!(
        metrics.contains("granary_disk_slow 1") && metrics.contains("granary_stalled{part=\"log\"} 1"),
        "{metrics}"
    );
    assert_eq!(
        http::get(ports.metrics, "/livez").await.unwrap().0,
        200,
        "a probe does not end a node with a slow disk"
    );
    load.forget();
    load.goes_on(100).await;
    powered.cluster.nodes[victim].logged("the disk hangs: a sync of the log (raft/)").await.unwrap();
    let said = began.elapsed();
    // The kernel lets a process go only when its last request to the file system is answered.
    let stalled = powered.disk(victim).withdraw(fault);
    let status = powered.cluster.nodes[victim].ended().await.unwrap();
    assert_eq!(status.code(), Some(DISK_FAILED), "{}", powered.cluster.nodes[victim].log());
    powered.cluster.nodes[victim].start().unwrap();
    powered.cluster.whole().await.unwrap();
    let checked = load.finish(&run).await;
    powered.cluster.replicas_are_equal().await.unwrap();
    report::note(
        run.name(),
        json!({
            "seed": run.seed, "stalled_syncs": stalled, "leaders_left_after_ms": moved.as_millis() as u64,
            "ended_after_ms": said.as_millis() as u64, "operations_checked": checked.operations,
        }),
    );
    assert!(stalled > 0 && moved < Duration::from_secs(6), "leaders left after {moved:?}");
    assert!((HANGS.0 - 2..HANGS.0 + 5).contains(&said.as_secs()), "it ended after {said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_disks_are_slow_leaders_stay_where_they_are() {
    let Some(run) = Run::begin() else { return };
    let (powered, load) =
        founded(&run, &[("GRANARY_DISK_SLOW_MS", "600"), ("GRANARY_DISK_SLOW_AVERAGE_MS", "200")]).await;
    let delay = Duration::from_millis(450);
    let slow = || Fault::new(&[Operation::Sync], Effect::Delay(delay, delay)).on("**/raft/*.log");
    let faults: Vec<_> =
        powered.places().into_iter().map(|place| (place, powered.disk(place).inject(slow()))).collect();
    powered
        .cluster
        .state_until("all say that they are slow", LIMIT, |state| {
            let slow = state.nodes.iter().filter(|node| node.slow).count();
            if slow == SHAPE.nodes { Ok(()) } else { Err(format!("{slow} nodes")) }
        })
        .await
        .unwrap();
    // What was handed over before each had heard of all others may still be under way.
    powered
        .cluster
        .state_until("every shard is led", LIMIT, |state| {
            match state.shards.iter().find(|shard| shard.leader_node_id == 0) {
                None => Ok(()),
                Some(shard) => Err(format!("shard {} is not", shard.shard_id)),
            }
        })
        .await
        .unwrap();
    // Each hand-over and each election raises a term.
    let terms = || async { powered.cluster.state().await.unwrap().shards.iter().map(|shard| shard.term).sum::<u64>() };
    let before = terms().await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let rose = terms().await.saturating_sub(before);
    let delayed: u64 = faults.into_iter().map(|(place, fault)| powered.disk(place).withdraw(fault)).sum();
    load.forget();
    load.goes_on(50).await;
    let checked = load.finish(&run).await;
    report::note(
        run.name(),
        json!({
            "seed": run.seed, "delayed_syncs": delayed, "terms_rose": rose, "operations_checked": checked.operations,
        }),
    );
    assert!(delayed > 0, "nothing was injected");
    // Slow syncs cost an election now and then; leaders that are handed round raise each shard's term every second or so.
    assert!(rose <= 4, "leaders went round: terms rose by {rose} in 8 s");
}
