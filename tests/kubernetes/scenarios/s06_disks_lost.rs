//! Pods, claims and data deleted: of one node, of two, of all.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant, SystemTime},
};

use futures::future::try_join_all;
use granary_crds::StorageCluster;
use kube::ResourceExt as _;
use serde_json::json;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT, reason},
    data::{load::Load, lost_nothing_acknowledged, nothing_lost},
    failure::Result,
    faults,
    figures::Figures,
    kubectl::kubectl,
    machines, operator,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "06_disk_lost",
        says: "pod, claim and data of a node deleted together: a new node takes over, nothing lost",
        run: |scene| Box::pin(one_lost(scene)),
    },
    Scenario {
        name: "06b_two_disks_of_three_lost",
        says: "two of three claims deleted at once: QuorumLost, nothing is made or removed, the third disk is untouched",
        run: |scene| Box::pin(two_lost(scene)),
    },
    Scenario {
        name: "06c_all_disks_lost",
        says: "all claims deleted: DataLost, and no empty cluster in its place",
        run: |scene| Box::pin(all_lost(scene)),
    },
];

async fn one_lost(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    // Were it for silence alone, nothing would be replaced.
    let cluster = scene.cluster(json!({"failover": {"replaceAfter": "Never"}})).await?;
    cluster.ready(3).await?;
    let client = cluster.client().await?;
    let load = Load::store(&client, 20).await?;
    let writer = cluster.writer(Duration::from_millis(20)).await?;
    let before = ids(&cluster).await?;
    writer.take_longest_gap();

    let started = Instant::now();
    lose(&cluster, &["node-1"]).await?;
    scene.say("pod, claim and data of node-1 are deleted");
    let state = cluster
        .state_until("a new node has taken over", LIMIT, |state| {
            let members = state.members();
            match members.values().find(|node| node.id == before["node-1"]) {
                Some(_) => Err("the lost node is a member still".to_owned()),
                None if members.len() == 3 => state.whole(),
                None => Err(format!("{} members", members.len())),
            }
        })
        .await?;
    figures.seconds("replaced_s", started.elapsed());
    figures.millis("longest_write_gap_ms", writer.take_longest_gap());
    scene.say(format!("replaced after {:?}", started.elapsed()));
    cluster.ready(3).await?;
    figures.seconds("ready_s", started.elapsed());

    let after = ids(&cluster).await?;
    for kept in ["node-0", "node-2"] {
        assert_eq!(after.get(kept), before.get(kept), "id of {kept}, which stays: {after:?}");
    }
    let new: Vec<u64> = after.values().copied().filter(|id| !before.values().any(|old| old == id)).collect();
    assert_eq!(new.len(), 1, "new nodes: {before:?}, then {after:?}");
    assert!(before.values().all(|old| *old < new[0]), "an id of a node was used again: {before:?}, then {after:?}");
    assert_eq!(state.replicas().into_values().collect::<Vec<_>>(), [16, 16, 16], "{:?}", state.replicas());
    assert!(state.sharing_a_zone().is_empty(), "two copies in one zone: shards {:?}", state.sharing_a_zone());
    assert_eq!((cluster.sets().await?.len(), cluster.claims().await?.len()), (3, 3), "sets and claims");
    figures.put("keys_verified", load.verify(&client).await?);
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

async fn two_lost(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({"failover": {"replaceAfter": "10s"}})).await?;
    cluster.ready(3).await?;
    let writer = cluster.writer(Duration::from_millis(20)).await?;
    let third = disk(&cluster, "node-2").await?;
    let set = sets(&cluster).await?;
    let claim = claims(&cluster).await?["demo-node-2"].clone();
    let run = cluster.runs().await?["demo-node-2-0"].clone();

    let started = Instant::now();
    lose(&cluster, &["node-0", "node-1"]).await?;
    scene.say("pods, claims and data of node-0 and node-1 are deleted");
    let degraded = |cluster: &StorageCluster| reason(cluster, "Degraded", "QuorumLost").map(drop);
    cluster.wait_for("Degraded because QuorumLost", LIMIT, degraded).await?;
    figures.seconds("said_s", started.elapsed());
    still_said_by_a_new_operator(scene, &cluster, degraded).await?;

    assert_eq!(sets(&cluster).await?, set, "StatefulSets: none is made, removed or changed");
    assert_eq!(claims(&cluster).await?, BTreeMap::from([("demo-node-2".to_owned(), claim)]), "claims");
    assert_eq!(cluster.runs().await?["demo-node-2-0"], run, "the pod of the third disk, and its restarts");
    assert_eq!(disk(&cluster, "node-2").await?, third, "identity on the third disk");
    figures.put("writes_acknowledged_before", writer.acknowledged());
    assert!(writer.acknowledged() > 0, "nothing was written before");
    Ok(figures)
}

async fn all_lost(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({"failover": {"replaceAfter": "10s"}})).await?;
    cluster.ready(3).await?;
    let id = cluster_id(&cluster).await?;
    let sets_before = sets(&cluster).await?;

    let started = Instant::now();
    lose(&cluster, &["node-0", "node-1", "node-2"]).await?;
    scene.say("pods, claims and data of all three nodes are deleted");
    let degraded = |cluster: &StorageCluster| reason(cluster, "Degraded", "DataLost").map(drop);
    cluster.wait_for("Degraded because DataLost", LIMIT, degraded).await?;
    figures.seconds("said_s", started.elapsed());
    still_said_by_a_new_operator(scene, &cluster, degraded).await?;

    assert_eq!(claims(&cluster).await?, BTreeMap::new(), "claims");
    assert_eq!(sets(&cluster).await?, sets_before, "StatefulSets: none is made, removed or changed");
    assert_eq!(cluster_id(&cluster).await?, id, "the cluster's id");
    let running: Vec<_> = cluster.runs().await?.into_iter().filter(|(_, (_, restarts))| *restarts > 0).collect();
    assert!(running.is_empty(), "a process was started: {running:?}");
    assert!(cluster.state().await.is_err(), "a cluster answers");
    Ok(figures)
}

/// Deletes pods and claims at the same time, and all that is on their volumes.
async fn lose(cluster: &Cluster, nodes: &[&str]) -> Result<()> {
    let objects = nodes.iter().flat_map(|node| [format!("pod/demo-{node}-0"), format!("pvc/demo-{node}")]);
    let objects: Vec<String> = objects.collect();
    let volumes = try_join_all(nodes.iter().map(async |node| cluster.volume_of(&format!("demo-{node}")).await)).await?;
    let mut delete = vec!["delete", "--wait=false"];
    delete.extend(objects.iter().map(String::as_str));
    cluster.kubectl(&delete).await?;
    for volume in &volumes {
        machines::lose_volume(&volume.name_any()).await?;
    }
    for object in &objects {
        let (kind, name) = object.split_once('/').unwrap_or_default();
        if kind == "pvc" {
            cluster.kubectl(&["wait", "--for=delete", &format!("pvc/{name}"), "--timeout=120s"]).await?;
        }
    }
    // A process that ended without its files may have written some again.
    for volume in &volumes {
        machines::lose_volume(&volume.name_any()).await?;
    }
    Ok(())
}

/// An operator that remembers nothing comes to the same conclusion, and does as little: it has looked several times.
async fn still_said_by_a_new_operator(
    scene: &Scene,
    cluster: &Cluster,
    said: impl Fn(&StorageCluster) -> std::result::Result<(), String>,
) -> Result<()> {
    let holder = operator::holder().await?;
    kubectl(&["-n", operator::NAMESPACE, "delete", "pod", "-l", "app.kubernetes.io/name=granary-operator"]).await?;
    scene.say(format!("the operator's pods, {holder} among them, are deleted"));
    for round in 0..2 {
        let before = cluster.get().await?.status.and_then(|status| status.observed_time);
        cluster
            .wait_for(&format!("a status written anew ({round})"), LIMIT, |cluster| {
                let now = cluster.status.as_ref().and_then(|status| status.observed_time.clone());
                if now != before { said(cluster) } else { Err(format!("observed at {now:?}")) }
            })
            .await?;
    }
    assert_ne!(operator::holder().await?, holder, "the operator that leads");
    Ok(())
}

/// Node ids of the members, by name.
async fn ids(cluster: &Cluster) -> Result<BTreeMap<String, u64>> {
    Ok(cluster.state().await?.members().into_iter().map(|(name, node)| (name, node.id)).collect())
}

async fn cluster_id(cluster: &Cluster) -> Result<Option<String>> {
    Ok(cluster.get().await?.annotations().get("granary.io/cluster-id").cloned())
}

/// Uid and generation of each StatefulSet.
async fn sets(cluster: &Cluster) -> Result<BTreeMap<String, (Option<String>, Option<i64>)>> {
    let sets = cluster.sets().await?;
    Ok(sets.into_iter().map(|(name, set)| (name, (set.uid(), set.metadata.generation))).collect())
}

/// Uid and annotations of each claim.
async fn claims(cluster: &Cluster) -> Result<BTreeMap<String, (Option<String>, BTreeMap<String, String>)>> {
    let claims = cluster.claims().await?;
    Ok(claims.into_iter().map(|(name, claim)| (name, (claim.uid(), claim.annotations().clone()))).collect())
}

/// What a node's disk says of whose it is: content and time of the last change of each file.
async fn disk(cluster: &Cluster, node: &str) -> Result<BTreeMap<&'static str, (Vec<u8>, SystemTime)>> {
    let volume = cluster.volume_of(&format!("demo-{node}")).await?;
    let path = machines::volume_path(&volume.name_any()).await?;
    let file = |name| {
        let path = format!("{path}/granary/{name}");
        Ok((name, (fs::read(&path)?, fs::metadata(&path)?.modified()?)))
    };
    ["identity", "incarnation"].into_iter().map(file).collect()
}
