//! One disk of three says that it has synced what it has not, and loses power. That node has forgotten votes and entries
//! that it acknowledged (HAZARDS H1). While the others live nothing is lost; and as soon as a leader asks the node for what
//! it has acknowledged and has not, it ends, says so, and never starts on that disk again: it is replaced.

use std::time::Instant;

use granary_powercut::{Lie, Options, Tear};
use granary_proto::admin::RemoveNodeRequest;
use granary_tests::{
    cluster::{Cluster, Shape},
    node::LIMIT,
    wait::until,
};
use rand::RngExt as _;
use serde_json::json;

use crate::{
    load::Load,
    powered::{Powered, rest},
    report,
    run::Run,
};

const SHAPE: Shape = Shape { nodes: 3, factor: 3, shards: 4 };
const ROUNDS: usize = 3;
/// What a node says whose disk has lost what was synced, or some of it in the middle; then, and at every later start.
const UNFIT: [&str; 4] =
    ["has lost what it had said to be synced", "its end is lost", "raft/: open: Corruption", "torn or was edited"];

fn is_unfit(said: &str) -> bool {
    UNFIT.iter().any(|words| said.contains(words))
}

/// Waits until the node is whole, or says that its disk is unfit; starts it again when it ends for another reason. Whether it
/// is unfit.
async fn whole_or_unfit(powered: &mut Powered, victim: usize) -> bool {
    let began = Instant::now();
    loop {
        let node = &mut powered.cluster.nodes[victim];
        if node.has_ended() {
            let said = node.log();
            assert!(!said.contains("a broken invariant"), "{said}");
            if is_unfit(&said) {
                return true;
            }
            node.start().unwrap();
        }
        let look = tokio::time::timeout(std::time::Duration::from_millis(500), powered.cluster.whole()).await;
        if matches!(look, Ok(Ok(_))) && !powered.cluster.nodes[victim].has_ended() {
            return false;
        }
        assert!(began.elapsed() < LIMIT, "{look:?} {}", powered.cluster.nodes[victim].log());
    }
}

/// What an operator does: an empty disk, a new node, all replicas there, the old node off the map.
async fn replace(cluster: &mut Cluster, victim: usize, old: u64) {
    let (code, said) = cluster.nodes[victim].start_refused().await.unwrap();
    assert!(code == 1 && is_unfit(&said), "it starts on this disk again: {code} {said}");
    cluster.nodes[victim].wipe().unwrap();
    cluster.nodes[victim].start().unwrap();
    let new = cluster.join(victim).await.unwrap();
    let nodes: Vec<u64> = (1..=3).filter(|node| *node != old).chain([new]).collect();
    let targets: Vec<(u32, Vec<u64>)> = (0..=SHAPE.shards).map(|shard| (shard, nodes.clone())).collect();
    cluster.reconfigure(&targets).await.unwrap();
    let request = RemoveNodeRequest { operator_token: cluster.token, node_id: old };
    until("the old id is removed", LIMIT, || async {
        let removed = cluster.ask("remove", |mut admin| async move { admin.remove_node(request).await });
        removed.await.map(drop).map_err(|error| error.to_string())
    })
    .await
    .unwrap();
    cluster.whole().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_lied_about_its_syncs_and_lost_power_takes_nothing_acknowledged_with_it() {
    let Some(run) = Run::begin() else { return };
    let mut random = run.random(0);
    let options = Options { seed: run.seed, ..Options::default() };
    let (mut lies, mut lost, mut unfit) = (0, 0, 0);
    for round in 0..ROUNDS {
        let mut powered = Powered::founded(SHAPE, 0, &options, &[]).await;
        let load = Load::start(&run, powered.cluster.endpoints(), SHAPE.shards, round as u64).await;
        // One that follows somewhere: a leader that is gone is followed by one that knows nothing of the node.
        let leader = powered.cluster.place(powered.cluster.leader(1).await.unwrap()).await.unwrap();
        let victim = (leader + 1) % SHAPE.nodes;
        let id = powered.cluster.nodes[victim].id().await.unwrap();
        powered.disk(victim).lie(Lie::Always);
        load.goes_on(200).await;
        rest(random.random_range(0..500)).await;
        let tear = if round % 2 == 0 { Tear::Drop } else { Tear::Mixed };
        let (report, _) = powered.cut(&[victim], tear, random.random());
        lies += powered.disk(victim).counts().into_values().map(|counts| counts.lies).sum::<u64>();
        lost += report.writes.lost;
        powered.disk(victim).lie(Lie::Never);
        load.forget();
        powered.start(&[victim]);
        load.works_again().await;
        load.goes_on(50).await;
        if whole_or_unfit(&mut powered, victim).await {
            unfit += 1;
            replace(&mut powered.cluster, victim, id).await;
        }
        load.finish(&run).await;
        powered.cluster.replicas_are_equal().await.unwrap();
    }
    report::note(
        run.name(),
        json!({ "seed": run.seed, "rounds": ROUNDS, "lies": lies, "writes_lost": lost, "found_unfit": unfit }),
    );
    assert!(lies > 0 && lost > 0, "the disks lied {lies} times");
    assert!(unfit > 0, "what was lost was never found out");
}
