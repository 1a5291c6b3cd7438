//! A Kubernetes node cut off, and one drained and deleted with its volumes.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use granary_tests::wait::until;
use serde_json::json;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT},
    data::{load::Load, nothing_lost},
    failure::{Failure, Result},
    faults,
    figures::Figures,
    kubectl::{kubectl, try_kubectl},
    machines,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "07_machine_cut_off",
        says: "a Kubernetes node cut off: reads and writes go on, its node is replaced, and retired when it is back",
        run: |scene| Box::pin(cut_off(scene)),
    },
    Scenario {
        name: "07b_machine_deleted",
        says: "a Kubernetes node drained and deleted with its disks: replaced at once; the next drain waits for that",
        run: |scene| Box::pin(deleted(scene)),
    },
];

/// Between two writes to a shard.
const PAUSE: Duration = Duration::from_millis(20);

async fn cut_off(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    // More than the 55 s after which Kubernetes puts no new pods there.
    let cluster = scene.cluster(json!({"failover": {"replaceAfter": "70s"}})).await?;
    cluster.ready(3).await?;
    let client = cluster.client().await?;
    let load = Load::store(&client, 20).await?;
    let writer = cluster.writer(PAUSE).await?;
    let before = ids(&cluster).await?;
    let machine = cluster.machine_of("demo-node-1-0").await?;
    let runs = cluster.runs().await?;

    writer.take_longest_gap();
    let cut = Instant::now();
    machines::link_down(&machine).await?;
    scene.say(format!("{machine} is cut off"));
    cluster
        .state_until("the cluster notices that node-1 is silent", LIMIT, |state| {
            let silent = state.0.nodes.iter().find(|node| node.node_id == before["node-1"]);
            let silent = silent.map_or(0, |node| node.silent_for_ms);
            if silent > 5_000 { Ok(()) } else { Err(format!("silent for {silent} ms")) }
        })
        .await?;
    cluster.condition("Degraded", "True", LIMIT).await?;
    figures.seconds("degraded_said_s", cut.elapsed());
    // All of it is to be read and written while nothing is replaced yet.
    figures.put("keys_read_while_cut_off", load.verify(&client).await?);
    assert_eq!(ids(&cluster).await?, before, "members before replaceAfter");
    figures.millis("gap_cut_off_ms", writer.take_longest_gap());

    replaced(&cluster, before["node-1"]).await?;
    figures.seconds("replaced_s", cut.elapsed());
    assert!(cut.elapsed() >= Duration::from_secs(70), "replaced after {:?}, before replaceAfter", cut.elapsed());
    scene.say(format!("replaced after {:?}", cut.elapsed()));
    figures.millis("gap_replaced_ms", writer.take_longest_gap());
    let after = ids(&cluster).await?;

    machines::link_up(&machine).await?;
    let back = Instant::now();
    scene.say(format!("{machine} is back"));
    until("the old pod and its set are gone, and its claim is kept as given up", LIMIT, || async {
        let look = async { Ok((cluster.pods().await?, cluster.sets().await?, cluster.claims().await?)) };
        let (pods, sets, claims) = look.await.map_err(|error: Failure| error.to_string())?;
        let given_up = claims.get("demo-node-1").and_then(|claim| claim.metadata.annotations.clone());
        let given_up = given_up.is_some_and(|annotations| annotations.contains_key("granary.io/removed"));
        let gone = !pods.contains_key("demo-node-1-0") && !sets.contains_key("demo-node-1");
        let state = format!("{:?}, {:?}, claim given up: {given_up}", pods.keys(), sets.keys());
        if gone && given_up { Ok(()) } else { Err(state) }
    })
    .await?;
    figures.seconds("retired_s", back.elapsed());
    cluster.ready(3).await?;
    let state = cluster.whole(LIMIT).await?;
    assert_eq!(ids(&cluster).await?, after, "members after the old node was back");
    assert_eq!(state.replicas().into_values().collect::<Vec<_>>(), [16, 16, 16], "{:?}", state.replicas());
    for pod in ["demo-node-0-0", "demo-node-2-0"] {
        assert_eq!(cluster.runs().await?.get(pod), runs.get(pod), "{pod}, which had nothing to do with it");
    }
    figures.put("keys_verified", load.verify(&client).await?);
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

async fn deleted(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({"failover": {"replaceAfter": "24h"}})).await?;
    cluster.ready(3).await?;
    let client = cluster.client().await?;
    let load = Load::store(&client, 50).await?;
    let writer = cluster.writer(PAUSE).await?;
    let before = ids(&cluster).await?;
    let machine = cluster.machine_of("demo-node-1-0").await?;
    let next = cluster.machine_of("demo-node-2-0").await?;
    writer.take_longest_gap();

    drain(&machine).await?;
    scene.say(format!("{machine} is drained"));
    machines::power_off(&machine).await?;
    kubectl(&["delete", "node", &machine]).await?;
    let gone = Instant::now();
    scene.say(format!("{machine} is deleted, and its disks with it"));

    // A person who goes on at once with the next one.
    faults::cordon(&next).await?;
    let refused = AtomicU64::new(0);
    until("the next drain may go on", LIMIT, || async {
        match faults::evict(&cluster, "demo-node-2-0").await.map_err(|error| error.to_string())? {
            true => Ok(()),
            false => Err(format!("refused {} times", refused.fetch_add(1, Ordering::Relaxed) + 1)),
        }
    })
    .await?;
    let refused = refused.into_inner();
    let evicted = Instant::now();
    figures.put("evictions_refused", refused);
    figures.seconds("next_drain_held_s", gone.elapsed());
    scene.say(format!("{next} may be drained after {:?}, {refused} times refused", gone.elapsed()));
    assert!(refused > 0, "the next drain was not held");
    // What was evicted is on its way out; all else must have been whole by then.
    let state = cluster.state().await?;
    let members = state.members();
    assert!(
        members.values().all(|node| node.id != before["node-1"]),
        "the lost node is a member: {:?}",
        members.keys()
    );
    assert_eq!(state.replicas().into_values().collect::<Vec<_>>(), [16, 16, 16], "{:?}", state.replicas());
    let new: Vec<u64> =
        members.values().map(|node| node.id).filter(|id| !before.values().any(|old| old == id)).collect();
    assert_eq!(new.len(), 1, "new nodes: {before:?}, then {members:?}");
    for shard in &state.0.shards {
        let group = shard.group.clone().unwrap_or_default();
        let there = group.replicas.iter().any(|replica| replica.node_id == new[0]);
        assert!(there || shard.shard_id == 0, "shard {} has no copy on the new node", shard.shard_id);
    }
    drain(&next).await?;
    faults::uncordon(&next).await?;
    cluster.ready(3).await?;
    figures.seconds("next_machine_back_s", evicted.elapsed());
    figures.millis("longest_write_gap_ms", writer.take_longest_gap());

    cluster.whole(LIMIT).await?;
    assert!(!cluster.sets().await?.contains_key("demo-node-1"), "the StatefulSet of the lost node is still there");
    figures.put("keys_verified", load.verify(&client).await?);
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

/// Waits until there are three members without this one, and every shard is whole.
async fn replaced(cluster: &Cluster, lost: u64) -> Result<()> {
    let waited = cluster
        .state_until(&format!("node {lost} is replaced"), LIMIT, |state| {
            let members = state.members();
            match members.values().find(|node| node.id == lost) {
                Some(_) => Err(format!("it is a member still, of {}", members.len())),
                None if members.len() == 3 => state.whole(),
                None => Err(format!("{} members", members.len())),
            }
        })
        .await;
    waited.map(drop)
}

/// `kubectl drain`, until it is done.
async fn drain(node: &str) -> Result<()> {
    let flags = ["--ignore-daemonsets", "--delete-emptydir-data", "--timeout=150s"];
    try_kubectl(&[&["drain", node], &flags[..]].concat(), "").await?.worked().map(drop)
}

/// Node ids of the members, by name.
async fn ids(cluster: &Cluster) -> Result<BTreeMap<String, u64>> {
    Ok(cluster.state().await?.members().into_iter().map(|(name, node)| (name, node.id)).collect())
}
