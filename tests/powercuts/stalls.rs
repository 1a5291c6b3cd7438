//! Disks that are slow or hang, while their node lives and its network works (HAZARDS H24, H13): leaders leave such a
//! node in bounded time, writes go on and nothing is lost; and a short stall of followers causes no election.

use std::time::{Duration, Instant};

use granary_powercut::{Effect, Fault, Operation, Options, Tear};
use granary_proto::admin::{GetClusterStateResponse, Transfer, TransferLeadersRequest};
use granary_tests::{
    cluster::{Cluster, Shape},
    node::LIMIT,
    wait::until,
};
use serde_json::json;

use crate::{
    load::Load,
    powered::{Powered, rest},
    report,
    run::Run,
};

const SHAPE: Shape = Shape { nodes: 3, factor: 3, shards: 4 };
/// How long a disk hangs.
const STALL: Duration = Duration::from_secs(10);
/// Longest time from the stall until every shard that the node led takes writes again elsewhere.
const LEAVES_WITHIN: Duration = Duration::from_secs(6);

/// Leader of each shard, and the group's term.
fn leaders(state: &GetClusterStateResponse) -> Vec<(u32, u64, u64)> {
    state.shards.iter().map(|shard| (shard.shard_id, shard.leader_node_id, shard.term)).collect()
}

/// The place that leads the most shards.
async fn busiest(powered: &Powered) -> (usize, usize) {
    let state = powered.cluster.whole().await.unwrap();
    let led = |node: u64| state.shards.iter().filter(|shard| shard.leader_node_id == node).count();
    let node = (1..=SHAPE.nodes as u64).max_by_key(|node| led(*node)).unwrap();
    (powered.cluster.place(node).await.unwrap(), led(node))
}

/// Asks these shards' leaders to hand over to a node.
async fn transfer(cluster: &Cluster, shards: &[u32], to_node_id: u64) -> granary_tests::Result<()> {
    let transfers = shards.iter().map(|shard_id| Transfer { shard_id: *shard_id, to_node_id }).collect();
    let request = TransferLeadersRequest { operator_token: cluster.token, transfers, ..Default::default() };
    let asked = cluster.ask("hand over", |mut admin| {
        let request = request.clone();
        async move { admin.transfer_leaders(request).await }
    });
    asked.await.map(drop)
}

async fn founded(run: &Run) -> (Powered, Load) {
    let options = Options { seed: run.seed, ..Options::default() };
    let powered = Powered::founded(SHAPE, 0, &options, &[]).await;
    let load = Load::start(run, powered.cluster.endpoints(), SHAPE.shards, 0).await;
    load.goes_on(100).await;
    (powered, load)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_of_500_ms_of_two_followers_causes_no_election() {
    let Some(run) = Run::begin() else { return };
    let (powered, load) = founded(&run).await;
    let (leader, _) = busiest(&powered).await;
    // One node leads all: the two others are followers of every shard.
    let id = powered.cluster.nodes[leader].id().await.unwrap();
    until("one node leads all", LIMIT, || async {
        let state = powered.cluster.state().await.map_err(|error| error.to_string())?;
        let elsewhere = state.shards.iter().filter(|shard| shard.leader_node_id != id).map(|shard| shard.shard_id);
        let elsewhere: Vec<u32> = elsewhere.collect();
        if elsewhere.is_empty() {
            return Ok(());
        }
        transfer(&powered.cluster, &elsewhere, id).await.map_err(|error| error.to_string())?;
        Err(format!("shards {elsewhere:?} are led elsewhere"))
    })
    .await
    .unwrap();
    let before = leaders(&powered.cluster.whole().await.unwrap());
    let time = Duration::from_millis(500);
    let followers: Vec<usize> = powered.places().into_iter().filter(|place| *place != leader).collect();
    let slow = || Fault::new(&[Operation::Sync], Effect::Delay(time, time)).on("**/raft/*.log").times(6);
    let faults: Vec<_> = followers.iter().map(|place| (*place, powered.disk(*place).inject(slow()))).collect();
    until("the stalls are over", LIMIT, || {
        let open = faults.iter().filter(|(place, fault)| powered.disk(*place).injected(*fault) < 6).count();
        std::future::ready(if open == 0 { Ok(()) } else { Err(format!("{open} disks")) })
    })
    .await
    .unwrap();
    let stalls: u64 = faults.into_iter().map(|(place, fault)| powered.disk(place).withdraw(fault)).sum();
    load.goes_on(50).await;
    let after = leaders(&powered.cluster.whole().await.unwrap());
    assert_eq!(before, after, "an election was held");
    let checked = load.finish(&run).await;
    report::note(run.name(), json!({ "seed": run.seed, "stalls": stalls, "operations_checked": checked.operations }));
    assert_eq!(stalls, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_leave_a_node_whose_disk_hangs_and_nothing_is_lost() {
    let Some(run) = Run::begin() else { return };
    let (mut powered, load) = founded(&run).await;
    let (victim, led) = busiest(&powered).await;
    assert!(led > 0);
    let began = Instant::now();
    let fault = powered.disk(victim).inject(Fault::new(&Operation::ALL, Effect::Stall));
    until("something waits for the disk", LIMIT, || {
        std::future::ready(if powered.disk(victim).waiting() > 0 { Ok(()) } else { Err("not yet".to_owned()) })
    })
    .await
    .unwrap();
    // What was under way is done or not.
    rest(200).await;
    load.forget();
    let left = load.works_again().await - began;
    rest(STALL.saturating_sub(began.elapsed()).as_millis() as u64).await;
    let stalled = powered.disk(victim).withdraw(fault);
    if powered.cluster.nodes[victim].has_ended() {
        powered.cluster.nodes[victim].start().unwrap();
    }
    powered.cluster.whole().await.unwrap();
    load.goes_on(50).await;
    let checked = load.finish(&run).await;
    powered.cut_and_start_all(Tear::Mixed, run.seed);
    powered.cluster.whole().await.unwrap();
    powered.cluster.replicas_are_equal().await.unwrap();
    report::note(
        run.name(),
        json!({
            "seed": run.seed, "stalled_requests": stalled, "leaders": led, "left_after_ms": left.as_millis() as u64,
            "operations_checked": checked.operations, "unknown": checked.unknown,
        }),
    );
    assert!(left <= LEAVES_WITHIN, "leaders left after {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_elsewhere_when_the_disk_of_a_leading_node_is_slow() {
    let Some(run) = Run::begin() else { return };
    let (powered, load) = founded(&run).await;
    let (victim, led) = busiest(&powered).await;
    let delay = Effect::Delay(Duration::from_millis(100), Duration::from_secs(3));
    let fault = powered.disk(victim).inject(Fault::new(&[Operation::Sync], delay));
    let began = Instant::now();
    let (mut slowest, mut acknowledged) = (Duration::ZERO, load.acknowledged());
    let before = acknowledged;
    while began.elapsed() < Duration::from_secs(8) {
        load.forget();
        let asked = Instant::now();
        slowest = slowest.max(load.works_again().await - asked);
        acknowledged = load.acknowledged();
    }
    let delayed = powered.disk(victim).withdraw(fault);
    let still = powered.cluster.state().await.unwrap();
    let id = powered.cluster.nodes[victim].id().await.unwrap();
    let leads = still.shards.iter().filter(|shard| shard.leader_node_id == id).count();
    powered.cluster.whole().await.unwrap();
    let checked = load.finish(&run).await;
    powered.cluster.replicas_are_equal().await.unwrap();
    report::note(
        run.name(),
        json!({
            "seed": run.seed, "delayed_syncs": delayed, "leaders_before": led, "leaders_after": leads,
            "slowest_shard_ms": slowest.as_millis() as u64, "acknowledged": acknowledged - before,
            "operations_checked": checked.operations,
        }),
    );
    assert!(delayed > 0, "nothing was injected");
    assert!(slowest <= LEAVES_WITHIN, "a shard waited {slowest:?}");
}
