//! A node's process hangs: it is there, and does nothing.

use std::time::{Duration, Instant};

use granary_tests::{wait::until, writer::Writer};
use serde_json::json;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT, reason},
    data::nothing_lost,
    failure::Result,
    faults,
    figures::Figures,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "18_hanging_node",
    says: "a process hangs: Degraded names it, its shards fail over; it goes on, or liveness ends it",
    run: |scene| Box::pin(hangs(scene)),
}];

/// Between two writes to a shard.
const PAUSE: Duration = Duration::from_millis(20);
/// By then the status has named it. The aim is 15 s, which the figure shows: here two Kubernetes share the cores.
const NAMED: Duration = Duration::from_secs(60);
/// Longest time in which a shard takes no write while its leader hangs.
const GAP: Duration = Duration::from_secs(20);

async fn hangs(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    // Liveness waits a minute; then the process is asked to stop, which it does not hear.
    let cluster = scene.cluster(json!({"terminationGracePeriodSeconds": 10})).await?;
    cluster.ready(3).await?;
    let writer = cluster.writer(PAUSE).await?;
    let runs = cluster.runs().await?;

    let node = leader(&cluster).await?;
    let pod = format!("demo-{node}-0");
    let started = Instant::now();
    let stopped = faults::stop(&cluster, &pod).await?;
    figures.seconds("named_after_s", named(&cluster, &node, started).await?);
    let gap = failed_over(&cluster, &writer, &node).await?;
    figures.millis("failover_gap_ms", gap);
    scene.say(format!("{node} hangs, is named, and its shards have other leaders; longest gap {gap:?}"));
    drop(stopped);
    let started = Instant::now();
    cluster.ready(3).await?;
    figures.seconds("goes_on_to_ready_s", started.elapsed());
    cluster.whole(LIMIT).await?;
    assert_eq!(cluster.runs().await?, runs, "pods, after a process that hung went on");

    let node = leader(&cluster).await?;
    let pod = format!("demo-{node}-0");
    let started = Instant::now();
    let stopped = faults::stop(&cluster, &pod).await?;
    named(&cluster, &node, started).await?;
    let mut expected = runs.clone();
    expected.entry(pod.clone()).and_modify(|(_, restarts)| *restarts += 1);
    until(&format!("{pod} is started anew"), LIMIT, || async {
        let now = cluster.runs().await.map_err(|error| error.to_string())?;
        if now == expected { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await?;
    figures.seconds("restarted_after_s", started.elapsed());
    scene.say(format!("{node} was ended by its liveness probe after {:?}", started.elapsed()));
    cluster.ready(3).await?;
    figures.seconds("restarted_to_ready_s", started.elapsed());
    cluster.whole(LIMIT).await?;
    drop(stopped);
    assert_eq!(cluster.runs().await?, expected, "one container was started once more, and nothing else");
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

/// Waits until Degraded names the node, which has to be in time.
async fn named(cluster: &Cluster, node: &str, since: Instant) -> Result<Duration> {
    cluster
        .wait_for(&format!("Degraded names {node}"), LIMIT, |cluster| {
            let message = reason(cluster, "Degraded", "NodeSilent")?;
            if message.contains(node) { Ok(()) } else { Err(message) }
        })
        .await?;
    let after = since.elapsed();
    assert!(after <= NAMED, "Degraded named {node} after {after:?}");
    Ok(after)
}

/// Waits until other nodes lead all shards and every shard took a write from them; gives the longest gap.
async fn failed_over(cluster: &Cluster, writer: &Writer, node: &str) -> Result<Duration> {
    cluster
        .state_until(&format!("others lead the shards of {node}"), LIMIT, |state| {
            let led = |shard: &u32| state.leader(*shard).is_some_and(|leader| leader != node);
            let without: Vec<u32> = (0..=16).filter(|shard| !led(shard)).collect();
            if without.is_empty() { Ok(()) } else { Err(format!("not yet: shards {without:?}")) }
        })
        .await?;
    // Until no shard waits any more: what is taken after that began after the failover.
    let before = writer.acknowledged();
    until("every shard takes writes", LIMIT, || async {
        let more = writer.acknowledged() - before;
        if more >= 1_000 { Ok(()) } else { Err(format!("{more} writes")) }
    })
    .await?;
    let gap = writer.take_longest_gap();
    assert!(gap < GAP, "a shard took no write for {gap:?}");
    Ok(gap)
}

/// A node that leads shard 1, when all is well.
async fn leader(cluster: &Cluster) -> Result<String> {
    let led = until("shard 1 has a leader", LIMIT, || async {
        let state = cluster.state().await.map_err(|error| error.to_string())?;
        state.whole()?;
        state.leader(1).ok_or_else(|| "none".to_owned())
    });
    Ok(led.await?)
}
