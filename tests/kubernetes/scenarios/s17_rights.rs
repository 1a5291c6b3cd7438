//! The operator's rights: what it has, what it does without, and that it needs no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use granary_tests::wait::until;
use serde_json::json;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT, reason},
    data::nothing_lost,
    failure::Result,
    figures::Figures,
    helm::{helm, repository},
    kubectl::{get_json, kubectl},
    operator,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "17_exact_rights",
        says: "the operator has the chart's rights and no others, and is refused nothing in the whole life of a cluster",
        run: |scene| Box::pin(exact_rights(scene)),
    },
    Scenario {
        name: "17b_roles_only",
        says: "watchNamespaces with Roles only: a whole life of a cluster, and the status says what is lost",
        run: |scene| Box::pin(roles_only(scene)),
    },
];

/// In the namespaces of clusters, as `kubectl auth can-i --list` tells it.
const NAMESPACED: [(&str, &str); 11] = [
    ("events.events.k8s.io", "create patch"),
    ("networkpolicies.networking.k8s.io", "get create patch delete"),
    ("persistentvolumeclaims", "get list watch create patch delete"),
    ("poddisruptionbudgets.policy", "get create patch delete"),
    ("pods", "get list watch patch delete"),
    ("serviceaccounts", "get create patch"),
    ("services", "get create patch"),
    ("statefulsets.apps", "get list watch create patch delete"),
    ("storageclusters.granary.io", "get list watch patch"),
    ("storageclusters.granary.io/finalizers", "update"),
    ("storageclusters.granary.io/status", "patch"),
];
/// What belongs to no namespace.
const CLUSTER_WIDE: [(&str, &str); 3] =
    [("nodes", "list watch"), ("persistentvolumes", "get list patch"), ("storageclasses.storage.k8s.io", "get")];
/// In the operator's own namespace.
const OWN: [(&str, &str); 1] = [("leases.coordination.k8s.io", "get create update")];

type Rights = BTreeMap<String, String>;

async fn exact_rights(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    // All that goes wrong is then told, not only what needs a person.
    let verbose = ["--set", "extraEnv[0].name=RUST_LOG", "--set", "extraEnv[0].value=granary_operator=debug"];
    operator::upgrade(&verbose).await?;
    let account = format!("system:serviceaccount:{}:{}", operator::NAMESPACE, operator::NAME);
    let cluster = living(scene, "data").await?;

    assert_eq!(rights(&account, &cluster.namespace).await?, table(&[&NAMESPACED, &CLUSTER_WIDE]));
    assert_eq!(rights(&account, operator::NAMESPACE).await?, table(&[&NAMESPACED, &CLUSTER_WIDE, &OWN]));
    assert_eq!(administrators().await?, BTreeSet::from(["Group system:masters".to_owned()]));
    figures.put("rights", NAMESPACED.len() + CLUSTER_WIDE.len() + OWN.len());

    live(scene, &cluster).await?;
    let log = log_of(operator::NAMESPACE).await?;
    let lines = log.lines().count();
    let refused: Vec<_> = log.lines().filter(|line| line.to_lowercase().contains("forbidden")).collect();
    assert!(lines > 20, "only {lines} lines of log");
    assert!(refused.is_empty(), "the operator was refused: {refused:?}");
    figures.put("log_lines", lines);
    Ok(figures)
}

async fn roles_only(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    // Another installation instead of the one of all scenarios, which may do more.
    operator::scale(0).await?;
    until("no operator runs", LIMIT, || async {
        let pods = operator::pods().await.map_err(|error| error.to_string())?;
        if pods.is_empty() { Ok(()) } else { Err(format!("{pods:?}")) }
    })
    .await?;
    let (data, other, system) =
        (scene.namespace("data").await?, scene.namespace("other").await?, scene.namespace("system").await?);
    let watched = format!("watchNamespaces={{{data}}}");
    let chart = repository("charts/granary");
    let release = ["install", "small", &chart, "--namespace", &system, "--wait", "--timeout", "150s"];
    let values = ["--set", &watched, "--set", "rbac.clusterScoped=false,crds.install=false"];
    helm(&[&release[..], &values].concat()).await?;
    let account = format!("system:serviceaccount:{system}:small-operator");
    assert_eq!(rights(&account, &data).await?, table(&[&NAMESPACED]));
    assert_eq!(rights(&account, &other).await?, Rights::new());

    let unwatched = Cluster::new(&scene.client, &other, "demo");
    unwatched.apply(json!({})).await?;
    let cluster = living(scene, "data").await?;
    let told = cluster
        .wait_for("what is lost is told", LIMIT, |cluster| {
            reason(cluster, "Degraded", "VolumesUnguarded")?;
            let waiting = cluster.status.as_ref().map(|status| status.waiting.join("; ")).unwrap_or_default();
            let told = waiting.contains("may not read Kubernetes nodes") && waiting.contains("VolumesUnguarded");
            if told { Ok(()) } else { Err(waiting) }
        })
        .await?;
    scene.say(format!("status.waiting: {:?}", told.status.map(|status| status.waiting)));
    let started = Instant::now();
    live(scene, &cluster).await?;
    figures.seconds("life_s", started.elapsed());
    assert!(unwatched.get().await?.status.is_none(), "a cluster of another namespace has a status");
    assert!(unwatched.pods().await?.is_empty(), "a cluster of another namespace has pods");
    Ok(figures)
}

/// A cluster whose whole life deletes too: disks of nodes that left, and all of them in the end.
async fn living(scene: &Scene, suffix: &str) -> Result<Cluster> {
    let namespace = scene.namespace(suffix).await?;
    let cluster = Cluster::new(&scene.client, &namespace, "demo");
    // Retain until the end: only then volumes are guarded.
    cluster.apply(json!({"storage": {"className": "loop", "size": "1Gi", "whenScaled": "Delete"}})).await?;
    cluster.ready(3).await?;
    Ok(cluster)
}

/// Scales up, grows, rolls, scales down, and deletes all of it, data too.
async fn live(scene: &Scene, cluster: &Cluster) -> Result<()> {
    let writer = cluster.writer(Duration::from_millis(100)).await?;
    cluster.scale(4).await?;
    cluster.ready(4).await?;
    cluster.patch(json!({"storage": {"size": "2Gi"}})).await?;
    cluster
        .wait_for("the volumes have grown", LIMIT, |cluster| {
            let size = cluster.status.as_ref().and_then(|status| status.storage_size.clone());
            if size.as_deref() == Some("2Gi") { Ok(()) } else { Err(format!("{size:?}")) }
        })
        .await?;
    scene.say("scaled and grown");
    let before = cluster.runs().await?;
    cluster.patch(json!({"resources": {"requests": {"cpu": "51m", "memory": "128Mi"}}})).await?;
    cluster.ready(4).await?;
    let now = cluster.runs().await?;
    assert!(before.iter().all(|(pod, (uid, _))| now.get(pod).is_some_and(|(new, _)| new != uid)), "{before:?} {now:?}");
    scene.say("rolled");
    cluster.scale(3).await?;
    cluster.ready(3).await?;
    until("the claim of the node that left is gone", LIMIT, || async {
        let claims = cluster.claims().await.map_err(|error| error.to_string())?;
        if claims.len() == 3 { Ok(()) } else { Err(format!("{:?}", claims.keys())) }
    })
    .await?;
    cluster.whole(LIMIT).await?;
    let acknowledged = nothing_lost(writer).await?;
    scene.say(format!("scaled down; {acknowledged} writes, none lost"));
    cluster.patch(json!({"deletionPolicy": "Delete"})).await?;
    cluster
        .wait_for("the finalizer is set", LIMIT, |cluster| {
            let finalizers = cluster.metadata.finalizers.clone().unwrap_or_default();
            if finalizers.is_empty() { Err("none".to_owned()) } else { Ok(()) }
        })
        .await?;
    cluster.delete().await?;
    until("all of it is gone", LIMIT, || async {
        let (claims, pods) = (cluster.claims().await, cluster.pods().await);
        let left = (claims.map_err(|error| error.to_string())?.len(), pods.map_err(|error| error.to_string())?.len());
        if left == (0, 0) { Ok(()) } else { Err(format!("claims and pods: {left:?}")) }
    })
    .await?;
    Ok(())
}

fn table(parts: &[&[(&str, &str)]]) -> Rights {
    let rows = parts.iter().flat_map(|part| part.iter());
    rows.map(|(resource, verbs)| ((*resource).to_owned(), (*verbs).to_owned())).collect()
}

/// What an account may do in a namespace beyond what every account may.
async fn rights(account: &str, namespace: &str) -> Result<Rights> {
    let mut rights = all_rights(account, namespace).await?;
    for (resource, _) in all_rights("system:serviceaccount:default:nobody", namespace).await? {
        rights.remove(&resource);
    }
    Ok(rights)
}

async fn all_rights(account: &str, namespace: &str) -> Result<Rights> {
    let list = kubectl(&["auth", "can-i", "--list", "--no-headers", "--as", account, "-n", namespace]).await?;
    // RESOURCE [URLS] [NAMES] [VERBS]; what is no resource begins with a blank.
    let rows = list.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| {
        let (resource, rest) = line.split_once(' ')?;
        let verbs = rest.rsplit_once('[')?.1.trim_end().trim_end_matches(']');
        let everything = rest.trim_start().starts_with("[]") && rest.matches("[]").count() >= 2;
        Some((resource.to_owned(), if everything { verbs.to_owned() } else { rest.trim().to_owned() }))
    });
    Ok(rows.collect())
}

/// Who has the role of the administrator, in whatever way.
async fn administrators() -> Result<BTreeSet<String>> {
    let mut who = BTreeSet::new();
    for kind in ["clusterrolebindings", "rolebindings"] {
        let bindings = get_json(&[kind, "--all-namespaces"]).await?;
        for binding in bindings["items"].as_array().into_iter().flatten() {
            if binding["roleRef"]["name"] == "cluster-admin" {
                let subjects = binding["subjects"].as_array().into_iter().flatten();
                who.extend(subjects.map(|one| format!("{} {}", one["kind"], one["name"]).replace('"', "")));
            }
        }
    }
    Ok(who)
}

/// All that an operator's pods have said.
async fn log_of(namespace: &str) -> Result<String> {
    kubectl(&["-n", namespace, "logs", "-l", "app.kubernetes.io/name=granary-operator", "--tail=-1"]).await
}
