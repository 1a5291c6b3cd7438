//! What helm does over the years: a newer chart with a newer definition, another release name, the tests of the charts.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use granary_tests::wait::until;
use serde_json::json;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT},
    commands,
    data::nothing_lost,
    failure::{Result, failed},
    figures::Figures,
    helm::{helm, repository},
    kubectl::{get_json, kubectl},
    operator,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "23_upgrade_from_an_older_definition",
        says: "helm upgrade from a chart with an older definition: it is upgraded, clusters go on, no pod is restarted",
        run: |scene| Box::pin(older_definition(scene)),
    },
    Scenario {
        name: "23b_another_release_name",
        says: "helm uninstall, and install again under another name: clusters are there and are looked after again",
        run: |scene| Box::pin(another_name(scene)),
    },
    Scenario {
        name: "23c_cluster_from_values",
        says: "the chart of a cluster: install, helm test, upgrade, uninstall; the claims stay",
        run: |scene| Box::pin(from_values(scene)),
    },
];

const DEFINITION: &str = "customresourcedefinition/storageclusters.granary.io";

async fn older_definition(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let older = tempfile::tempdir()?;
    let chart = older_chart(older.path()).await?;
    let release = ["upgrade", operator::RELEASE, &chart, "--namespace", operator::NAMESPACE, "--reset-values"];
    helm(&[&release[..], &["--wait", "--timeout", "150s"]].concat()).await?;
    assert!(!has_new_field().await?, "the older definition has the new field");
    let cluster = scene.cluster(json!({})).await?;
    let before = cluster.ready(3).await?;
    let size = before.status.and_then(|status| status.storage_size);
    assert_eq!(size, None, "the API server keeps no field that its definition does not have");
    let writer = cluster.writer(Duration::from_millis(100)).await?;
    let runs = cluster.runs().await?;

    let started = Instant::now();
    operator::install().await?;
    figures.seconds("helm_upgrade_s", started.elapsed());
    assert!(has_new_field().await?, "helm upgrade has not upgraded the definition");
    cluster
        .wait_for("the new field is used", LIMIT, |cluster| {
            let size = cluster.status.as_ref().and_then(|status| status.storage_size.clone());
            if size.as_deref() == Some("10Gi") { Ok(()) } else { Err(format!("{size:?}")) }
        })
        .await?;
    cluster.ready(3).await?;
    assert_eq!(cluster.runs().await?, runs, "pods, after the operator was upgraded");
    cluster.scale(4).await?;
    cluster.ready(4).await?;
    helm(&["test", operator::RELEASE, "--namespace", operator::NAMESPACE, "--timeout", "60s"]).await?;
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

async fn another_name(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let writer = cluster.writer(Duration::from_millis(100)).await?;
    let runs = cluster.runs().await?;
    let acknowledged = writer.acknowledged();

    helm(&["uninstall", operator::RELEASE, "--namespace", operator::NAMESPACE, "--wait", "--timeout", "90s"]).await?;
    kubectl(&["get", DEFINITION]).await?;
    // Helm waits until the Deployment is gone; its pods end after it.
    until("the operator's pods are gone", LIMIT, || async {
        let left = operator::pods().await.map_err(|error| error.to_string())?;
        if left.is_empty() { Ok(()) } else { Err(left.join(" ")) }
    })
    .await?;
    cluster.get().await?;
    cluster.whole(LIMIT).await?;
    scene.say("uninstalled: definition, cluster and pods are there");

    let started = Instant::now();
    let chart = repository("charts/granary");
    let release = ["install", "other", &chart, "--namespace", operator::NAMESPACE];
    helm(&[&release[..], &["--wait", "--timeout", "150s"]].concat()).await?;
    figures.seconds("install_again_s", started.elapsed());
    cluster.scale(4).await?;
    cluster.ready(4).await?;
    figures.seconds("install_again_to_scaled_s", started.elapsed());
    let now = cluster.runs().await?;
    assert!(runs.iter().all(|(pod, run)| now.get(pod) == Some(run)), "{runs:?}, later {now:?}");
    helm(&["test", "other", "--namespace", operator::NAMESPACE, "--timeout", "60s"]).await?;
    assert!(writer.acknowledged() > acknowledged, "nothing was written meanwhile");

    // And back again: the definition still is the first release's.
    helm(&["uninstall", "other", "--namespace", operator::NAMESPACE, "--wait", "--timeout", "90s"]).await?;
    operator::install().await?;
    cluster.scale(3).await?;
    cluster.ready(3).await?;
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

async fn from_values(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let namespace = scene.namespace("data").await?;
    let cluster = Cluster::new(&scene.client, &namespace, "mine");
    let chart = repository("charts/granary-cluster");
    let values = "spec.image=granary:0.1.0,spec.shards=16,spec.storage.size=10Gi,spec.storage.className=standard,\
                  spec.resources.requests.cpu=50m,spec.resources.requests.memory=128Mi";
    let started = Instant::now();
    helm(&["install", "mine", &chart, "--namespace", &namespace, "--set", values]).await?;
    cluster.ready(3).await?;
    figures.seconds("install_to_ready_s", started.elapsed());
    helm(&["test", "mine", "--namespace", &namespace, "--timeout", "120s"]).await?;
    let writer = cluster.writer(Duration::from_millis(100)).await?;
    let more = format!("{values},spec.replicas=4");
    helm(&["upgrade", "mine", &chart, "--namespace", &namespace, "--set", &more]).await?;
    cluster.ready(4).await?;
    helm(&["test", "mine", "--namespace", &namespace, "--timeout", "120s"]).await?;
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    let refused = ["upgrade", "mine", &chart, "--namespace", &namespace, "--set", values, "--set", "spec.replcas=5"];
    let words = commands::run("helm", &refused, "").await?.refused()?;
    assert!(words.contains("replcas"), "{words}");
    helm(&["uninstall", "mine", "--namespace", &namespace, "--wait", "--timeout", "90s"]).await?;
    assert_eq!(cluster.claims().await?.len(), 4, "claims after helm uninstall");
    let left = kubectl(&["-n", &namespace, "get", "gsc", "-o", "name"]).await?;
    assert_eq!(left.trim(), "", "StorageClusters after helm uninstall");
    Ok(figures)
}

/// The chart as it may have been once: without a field of today's status.
async fn older_chart(folder: &Path) -> Result<String> {
    commands::run("cp", &["-r", &repository("charts/granary"), &folder.to_string_lossy()], "").await?.worked()?;
    let chart = folder.join("granary");
    let (definition, about) = (chart.join("files/storagecluster.yaml"), chart.join("Chart.yaml"));
    let text = fs::read_to_string(&definition)?;
    let older = without_field(&text, "storageSize");
    if older.len() == text.len() {
        return failed("the definition has no field storageSize that could be left out");
    }
    fs::write(definition, older)?;
    let text = fs::read_to_string(&about)?;
    let versions: Vec<_> =
        text.lines().map(|line| if line.starts_with("version:") { "version: 0.0.9" } else { line }).collect();
    fs::write(about, format!("{}\n", versions.join("\n")))?;
    Ok(chart.to_string_lossy().into_owned())
}

/// YAML without a field and all that is indented below it.
fn without_field(text: &str, field: &str) -> String {
    let (mut kept, mut below) = (String::new(), None);
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        below = match below {
            Some(depth) if indent > depth => below,
            _ if line.trim() == format!("{field}:") => Some(indent),
            _ => None,
        };
        if below.is_none() {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Whether the API server's definition has the field that the older one lacks.
async fn has_new_field() -> Result<bool> {
    let definition = get_json(&[DEFINITION]).await?;
    let status = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    Ok(!status["properties"]["storageSize"].is_null())
}
