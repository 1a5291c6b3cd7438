//! Two installations of the operator over the same namespaces.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use kube::ResourceExt as _;
use parking_lot::Mutex;
use serde_json::json;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT, reason},
    data::nothing_lost,
    failure::{Failure, Result},
    figures::Figures,
    helm::{helm, repository},
    kubectl::get_json,
    operator,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "17c_two_installations",
    says: "a second installation stands aside: OperatorConflict is told by the one that works, nothing goes to and fro",
    run: |scene| Box::pin(two_installations(scene)),
}];

/// Left by the one that stands aside.
const NOTE: &str = "granary.io/refused-operator";
/// Most versions of the StorageCluster between two notes, 20 s apart: a note, a status for its being old, and a few for
/// numbers that changed.
const MOST_VERSIONS: usize = 12;

async fn two_installations(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let writer = cluster.writer(Duration::from_millis(100)).await?;
    let (first, runs) = (holder(&cluster).await?, cluster.runs().await?);
    assert_eq!(first, lease(operator::NAMESPACE, operator::NAME).await?, "the nodes obey the first installation");

    let system = scene.namespace("system").await?;
    let started = Instant::now();
    let chart = repository("charts/granary");
    helm(&["install", "second", &chart, "--namespace", &system, "--wait", "--timeout", "150s"]).await?;
    let second = lease(&system, "second-operator").await?;
    let told = cluster
        .wait_for("OperatorConflict", LIMIT, |cluster| {
            let words = reason(cluster, "Degraded", "OperatorConflict")?;
            if words.contains(&first) && words.contains(&second) { Ok(()) } else { Err(words) }
        })
        .await?;
    figures.seconds("installed_to_told_s", started.elapsed());
    scene.say(reason(&told, "Degraded", "OperatorConflict").map_err(Failure)?);

    // From one note to the next, which is 20 s: what is written meanwhile, and by whom.
    let unsaid = AtomicU32::new(0);
    let note = told.annotations().get(NOTE).cloned().unwrap_or_default();
    assert!(note.starts_with(&second), "{note}");
    let seen = Mutex::new(BTreeSet::new());
    cluster
        .wait_for("the note is renewed", LIMIT, |cluster| {
            seen.lock().insert(cluster.resource_version());
            if reason(cluster, "Degraded", "OperatorConflict").is_err() {
                unsaid.fetch_add(1, Ordering::Relaxed);
            }
            if cluster.annotations().get(NOTE) != Some(&note) { Ok(()) } else { Err(note.clone()) }
        })
        .await?;
    assert_eq!(unsaid.into_inner(), 0, "looks at which the condition was not there");
    let versions = seen.into_inner();
    figures.put("versions_between_notes", versions.len());
    scene.say(format!("{} versions of the StorageCluster from one note to the next", versions.len()));
    assert!(versions.len() <= MOST_VERSIONS, "{} versions between two notes", versions.len());
    let events = conflicts(&cluster).await?;
    figures.put("events", events);
    assert!((1..=2).contains(&events), "{events} events OperatorConflict: at most one of each installation");

    // Only the first one acts.
    cluster.scale(4).await?;
    cluster
        .wait_for("four members", LIMIT, |cluster| {
            let ready = cluster.status.as_ref().map_or(0, |status| status.ready_nodes);
            if ready == 4 { Ok(()) } else { Err(format!("{ready} ready")) }
        })
        .await?;
    cluster.whole(LIMIT).await?;
    assert_eq!(holder(&cluster).await?, first);
    assert_eq!((cluster.sets().await?.len(), cluster.claims().await?.len()), (4, 4), "StatefulSets and claims");
    let now = cluster.runs().await?;
    assert!(runs.iter().all(|(pod, run)| now.get(pod) == Some(run)), "{runs:?}, later {now:?}");

    let started = Instant::now();
    helm(&["uninstall", "second", "--namespace", &system, "--wait", "--timeout", "60s"]).await?;
    cluster.ready(4).await?;
    cluster.condition("Degraded", "False", LIMIT).await?;
    figures.seconds("uninstalled_to_healthy_s", started.elapsed());
    assert!(!cluster.get().await?.annotations().contains_key(NOTE), "the note is left behind");
    assert_eq!(conflicts(&cluster).await?, events, "events after all");
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

/// The installation that the nodes obey.
async fn holder(cluster: &Cluster) -> Result<String> {
    Ok(cluster.state().await?.0.operator_installation)
}

/// An installation is known by its Lease.
async fn lease(namespace: &str, name: &str) -> Result<String> {
    let lease = get_json(&["-n", namespace, "lease", name]).await?;
    Ok(lease["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
}

/// How many Events tell of the conflict, repetitions counted.
async fn conflicts(cluster: &Cluster) -> Result<u64> {
    let events = get_json(&["-n", &cluster.namespace, "events", "--field-selector=reason=OperatorConflict"]).await?;
    let counts = events["items"].as_array().into_iter().flatten();
    Ok(counts.map(|event| event["count"].as_u64().unwrap_or(1).max(1)).sum())
}
