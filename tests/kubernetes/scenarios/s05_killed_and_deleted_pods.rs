//! A leader's process killed, its pod deleted, and a pod force-deleted while its process runs.

use std::{future::Future, time::Duration};

use granary_tests::{wait::until, writer::Writer};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::json;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT},
    data::nothing_lost,
    failure::Result,
    faults,
    figures::Figures,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "05_leaders_killed_and_deleted",
        says: "a leader's process killed, its pod deleted: nothing lost, and how long writes wait",
        run: |scene| Box::pin(killed_and_deleted(scene)),
    },
    Scenario {
        name: "05b_forgotten_pod_still_runs",
        says: "a pod is force-deleted while its process runs: the new one waits for the disk, and does not crash",
        run: |scene| Box::pin(forgotten_pod_still_runs(scene)),
    },
];

/// Each of the three leads a third of the shards.
const NODES: [&str; 3] = ["node-0", "node-1", "node-2"];
/// Between two writes to a shard.
const PAUSE: Duration = Duration::from_millis(10);

async fn killed_and_deleted(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let writer = cluster.writer(PAUSE).await?;

    let mut gaps = Vec::new();
    for node in NODES {
        let pod = format!("demo-{node}-0");
        let before = cluster.runs().await?;
        gaps.push(gap(&cluster, &writer, node, faults::kill(&cluster, &pod)).await?);
        let mut expected = before.clone();
        expected.entry(pod).and_modify(|(_, restarts)| *restarts += 1);
        assert_eq!(cluster.runs().await?, expected, "the same pods, and one container started once more");
    }
    scene.say(format!("gaps when a leader's process is killed: {gaps:?}"));
    figures.millis("gap_process_killed_ms", median(gaps));

    let mut gaps = Vec::new();
    for node in NODES {
        let pod = format!("demo-{node}-0");
        let before = cluster.runs().await?;
        gaps.push(gap(&cluster, &writer, node, faults::delete(&cluster, "pod", &pod, &["--wait=false"])).await?);
        let after = cluster.runs().await?;
        assert_ne!(after[&pod].0, before[&pod].0, "uid of {pod}, which was deleted");
        assert_eq!(after[&pod].1, 0, "restarts of the new {pod}");
    }
    scene.say(format!("gaps when a leader's pod is deleted: {gaps:?}"));
    figures.millis("gap_pod_deleted_ms", median(gaps));

    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

/// Longest time for which a shard took no write, from a fault on a node that leads until it is back and all is whole.
async fn gap(
    cluster: &Cluster,
    writer: &Writer,
    node: &str,
    fault: impl Future<Output = Result<()>>,
) -> Result<Duration> {
    let pod = format!("demo-{node}-0");
    cluster.ready(3).await?;
    cluster
        .state_until(&format!("{node} leads"), LIMIT, |state| {
            let leads = (1..=16).any(|id| state.leader(id).as_deref() == Some(node));
            if leads { Ok(()) } else { Err("it leads no shard".to_owned()) }
        })
        .await?;
    let before = cluster.runs().await?[&pod].clone();
    let acknowledged = writer.acknowledged();
    writer.take_longest_gap();
    fault.await?;
    until(&format!("{pod} runs anew and is ready"), LIMIT, || async {
        let runs = cluster.runs().await.map_err(|error| error.to_string())?;
        let pods = cluster.pods().await.map_err(|error| error.to_string())?;
        match (runs.get(&pod), pods.get(&pod)) {
            (Some(now), Some(found)) if *now != before && is_ready(found) => Ok(()),
            (now, _) => Err(format!("{now:?}, before {before:?}")),
        }
    })
    .await?;
    cluster.whole(LIMIT).await?;
    assert!(writer.acknowledged() > acknowledged, "nothing was written meanwhile");
    Ok(writer.take_longest_gap())
}

fn median(mut gaps: Vec<Duration>) -> Duration {
    gaps.sort();
    gaps[gaps.len() / 2]
}

async fn forgotten_pod_still_runs(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let writer = cluster.writer(PAUSE).await?;
    let pod = "demo-node-1-0";
    let members = ids(&cluster).await?;
    let before = cluster.runs().await?;

    // The container runtime does not do what it is told for a while, as on a machine that is overloaded.
    let (runtime, processes) = faults::stop_runtime(&cluster, pod).await?;
    faults::force_delete_pod(&cluster, pod).await?;
    until("the new process waits for the disk", LIMIT, || async {
        let pods = cluster.pods().await.map_err(|error| error.to_string())?;
        match pods.get(pod) {
            Some(new) if new.uid().as_ref() != Some(&before[pod].0) => {}
            found => return Err(format!("{:?}", found.map(|old| old.uid()))),
        }
        let log = cluster.kubectl(&["logs", pod]).await.map_err(|error| error.to_string())?;
        if log.contains("waits for another process") { Ok(()) } else { Err(format!("its log: {log}")) }
    })
    .await?;
    assert!(processes.iter().all(|pid| faults::is_there(*pid)), "the old process is gone");
    let acknowledged = writer.acknowledged();
    // Longer than a process that would end for want of the disk needs to come round again.
    until("writes go on", LIMIT, || async {
        let more = writer.acknowledged() - acknowledged;
        if more >= 5_000 { Ok(()) } else { Err(format!("{more} writes")) }
    })
    .await?;
    assert!(processes.iter().all(|pid| faults::is_there(*pid)), "the old process is gone");
    let waiting = &cluster.pods().await?[pod];
    assert!(!is_ready(waiting), "the new pod is ready while the old process has the disk");
    assert_eq!(cluster.runs().await?[pod].1, 0, "restarts of the new pod while the old process has the disk");
    scene.say("two processes on one volume: the new one waits");

    writer.take_longest_gap();
    drop(runtime);
    until("the new process has the disk and is ready", LIMIT, || async {
        let pods = cluster.pods().await.map_err(|error| error.to_string())?;
        let ready = pods.get(pod).is_some_and(is_ready);
        if ready { Ok(()) } else { Err("it is not ready".to_owned()) }
    })
    .await?;
    cluster.ready(3).await?;
    cluster.whole(LIMIT).await?;
    figures.millis("gap_old_process_ends_ms", writer.take_longest_gap());
    assert!(processes.iter().all(|pid| !faults::is_there(*pid)), "the old process is still there");
    assert_eq!(cluster.runs().await?[pod].1, 0, "restarts of the new pod: it waited, and did not crash");
    assert_eq!(ids(&cluster).await?, members, "the same nodes as before");
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

/// Node ids of the members, by name.
async fn ids(cluster: &Cluster) -> Result<Vec<(String, u64)>> {
    Ok(cluster.state().await?.members().into_iter().map(|(name, node)| (name, node.id)).collect())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|condition| condition.type_ == "Ready").any(|condition| condition.status == "True")
}
