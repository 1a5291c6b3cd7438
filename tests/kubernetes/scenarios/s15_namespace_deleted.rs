//! A namespace that is deleted with a cluster in it, with an operator and without.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use granary_tests::wait::until;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, Pod};
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::json;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT},
    commands,
    data::{load::Load, nothing_lost},
    failure::{Failure, Result},
    figures::Figures,
    helm::{helm, repository},
    kubectl::kubectl,
    machines, operator,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "15_namespace_deleted",
        says: "the namespace of a running cluster is deleted: nothing hangs, the volumes stay, and the page brings it back",
        run: |scene| Box::pin(deleted(scene)),
    },
    Scenario {
        name: "15b_operator_uninstalled_first",
        says: "helm uninstall, then the namespaces: with Retain nothing hangs, with Delete the page's one command lets it go",
        run: |scene| Box::pin(without_operator(scene)),
    },
];

/// Between two writes to a shard.
const PAUSE: Duration = Duration::from_millis(50);

async fn deleted(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let load = Load::store(&cluster.client().await?, 20).await?;
    let writer = cluster.writer(PAUSE).await?;
    until("something is written", LIMIT, || async {
        let written = writer.acknowledged();
        if written >= 500 { Ok(()) } else { Err(format!("{written} writes")) }
    })
    .await?;
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    let id = cluster.cluster_id().await?;
    let members = cluster.whole(LIMIT).await?.members();
    let disks = disks(&cluster).await?;

    let started = Instant::now();
    kubectl(&["delete", "namespace", &cluster.namespace, "--wait=false"]).await?;
    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), &cluster.namespace);
    until("the pods are gone", LIMIT, || async {
        let left = pods.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    })
    .await?;
    figures.seconds("pods_gone_s", started.elapsed());
    namespace_gone(scene, &cluster.namespace).await?;
    figures.seconds("namespace_gone_s", started.elapsed());
    scene.say(format!("the namespace is gone after {:?}", started.elapsed()));
    stay(scene, &disks).await?;

    scene.namespace("data").await?;
    for (claim, disk) in &disks {
        brings_back(&cluster, claim, &disk.volume, &id).await?;
    }
    cluster.apply(json!({})).await?;
    cluster.ready(3).await?;
    let back = cluster.whole(LIMIT).await?.members();
    let ids = |members: &BTreeMap<String, granary_proto::map::Node>| {
        members.iter().map(|(name, node)| (name.clone(), node.id)).collect::<Vec<_>>()
    };
    assert_eq!((cluster.cluster_id().await?, ids(&back)), (id, ids(&members)), "the cluster and its nodes");
    figures.put("keys_verified", load.verify(&cluster.client().await?).await?);
    scene.say("back with all its data, by the words of docs/kubernetes.md");
    Ok(figures)
}

async fn without_operator(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let (retain, delete) = (scene.namespace("retain").await?, scene.namespace("delete").await?);
    let retain = Cluster::new(&scene.client, &retain, "demo");
    let delete = Cluster::new(&scene.client, &delete, "demo");
    retain.apply(json!({})).await?;
    delete.apply(json!({"deletionPolicy": "Delete"})).await?;
    retain.ready(3).await?;
    delete.ready(3).await?;
    let writer = retain.writer(PAUSE).await?;
    helm(&["uninstall", operator::RELEASE, "--namespace", operator::NAMESPACE, "--wait", "--timeout", "120s"]).await?;
    let acknowledged = writer.acknowledged();
    until("clusters serve without an operator", LIMIT, || async {
        let more = writer.acknowledged() - acknowledged;
        if more >= 500 { Ok(()) } else { Err(format!("{more} writes")) }
    })
    .await?;
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    let disks = disks(&retain).await?;

    let started = Instant::now();
    kubectl(&["delete", "namespace", &retain.namespace, "--wait=false"]).await?;
    kubectl(&["delete", "namespace", &delete.namespace, "--wait=false"]).await?;
    namespace_gone(scene, &retain.namespace).await?;
    figures.seconds("namespace_gone_s", started.elapsed());
    stay(scene, &disks).await?;

    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    let waits = until("the other namespace says that it waits for the finalizer", LIMIT, || async {
        let found = namespaces.get(&delete.namespace).await.map_err(|error| error.to_string())?;
        let conditions = found.status.unwrap_or_default().conditions.unwrap_or_default();
        let said: Vec<_> = conditions.into_iter().filter_map(|condition| condition.message).collect();
        let waits = said.iter().find(|message| message.contains("granary.io/delete-data"));
        waits.cloned().ok_or(format!("{said:?}"))
    })
    .await?;
    scene.say(&waits);
    let command = block("this one command lets it go:\n\n")?.replace("NAMESPACE", &delete.namespace);
    scene.say(&command);
    assert_eq!(command.trim().lines().count(), 1, "not one command: {command}");
    commands::run("bash", &["-c", &command], "").await?.worked()?;
    namespace_gone(scene, &delete.namespace).await?;
    operator::install().await?;
    Ok(figures)
}

/// A volume and what its disk says of whose it is.
struct Disk {
    volume: String,
    identity: Vec<u8>,
}

/// By claim.
async fn disks(cluster: &Cluster) -> Result<BTreeMap<String, Disk>> {
    let mut disks = BTreeMap::new();
    for claim in cluster.claims().await?.into_keys() {
        let volume = cluster.volume_of(&claim).await?.name_any();
        let identity = identity(&volume).await?;
        disks.insert(claim, Disk { volume, identity });
    }
    Ok(disks)
}

async fn identity(volume: &str) -> Result<Vec<u8>> {
    let path = machines::volume_path(volume).await?;
    fs::read(format!("{path}/granary/identity")).map_err(|error| Failure(format!("{path}: {error}")))
}

/// The volumes are there, are to stay, and hold what they held.
async fn stay(scene: &Scene, disks: &BTreeMap<String, Disk>) -> Result<()> {
    let volumes: Api<PersistentVolume> = Api::all(scene.client.clone());
    for (claim, disk) in disks {
        let volume = volumes.get(&disk.volume).await?;
        let policy = volume.spec.and_then(|spec| spec.persistent_volume_reclaim_policy);
        assert_eq!(policy.as_deref(), Some("Retain"), "volume of {claim}");
        assert_eq!(identity(&disk.volume).await?, disk.identity, "disk of {claim}");
    }
    Ok(())
}

async fn namespace_gone(scene: &Scene, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    until(&format!("the namespace {name} is gone"), LIMIT, || async {
        match namespaces.get_opt(name).await.map_err(|error| error.to_string())? {
            None => Ok(()),
            Some(namespace) => Err(format!("{:?}", namespace.status)),
        }
    })
    .await?;
    Ok(())
}

/// As docs/kubernetes.md has it, for one volume.
async fn brings_back(cluster: &Cluster, claim: &str, volume: &str, id: &str) -> Result<()> {
    let node = claim.strip_prefix("demo-").unwrap_or(claim);
    let commands = block("and for none whose node had left.\n\n")?
        .replace("demo-node-0", claim)
        .replace("node: node-0", &format!("node: {node}"))
        .replace("VOLUME", volume)
        .replace("NAMESPACE", &cluster.namespace)
        .replace("CLASS", "standard")
        .replace("cluster-id: ID", &format!("cluster-id: {id}"));
    commands::run("bash", &["-ec", &commands], "").await?.worked().map(drop)
}

/// The block of commands after these words of the page.
fn block(after: &str) -> Result<String> {
    let page = fs::read_to_string(repository("docs/kubernetes.md"))?;
    let rest = page.split_once(after).and_then(|(_, rest)| rest.strip_prefix("```\n"));
    let block = rest.and_then(|rest| rest.split_once("```")).map(|(block, _)| block.to_owned());
    block.ok_or_else(|| Failure(format!("docs/kubernetes.md has no commands after {after:?}")))
}
