//! What the operator costs while there is nothing to do: memory, and requests to the API server.

use std::{fs, time::Duration};

use granary_tests::wait::until;
use serde_json::json;
use tokio::time::sleep;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT},
    failure::{Failure, Result},
    figures::Figures,
    kubectl::{apply, kubectl},
    machines, operator,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "22_figures_idle",
    says: "the operator's memory and requests a minute with 1 and with 20 idle clusters",
    run: |scene| Box::pin(idle(scene)),
}];

/// What is counted: a whole minute, as the status of each cluster is written once in it.
const WINDOW: Duration = Duration::from_secs(60);
/// Many.
const MANY: usize = 20;
/// What the operator may take with that many, in MiB.
const MEMORY_MIB: f64 = 64.0;
/// Name of the rule by which the API server counts the operator's requests apart.
const FLOW: &str = "granary-operator";

async fn idle(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    count_apart().await?;
    let namespace = scene.namespace("data").await?;
    let tiny = json!({
        "replicas": 1, "replicationFactor": 1, "shards": 1, "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    });
    let clusters: Vec<_> =
        (0..MANY).map(|number| Cluster::new(&scene.client, &namespace, &format!("tiny-{number}"))).collect();
    for (count, figure) in [(1, "1"), (MANY, "20")] {
        for cluster in &clusters[..count] {
            cluster.apply(tiny.clone()).await?;
        }
        for cluster in &clusters[..count] {
            cluster.ready(1).await?;
        }
        let before = requests().await?;
        // What a minute costs takes a minute.
        sleep(WINDOW).await;
        let made = requests().await? - before;
        let memory = memory_mib().await?;
        scene.say(format!("{count} clusters: {made} requests a minute, {memory:.1} MiB"));
        figures.put(&format!("api_requests_a_minute_{figure}"), made);
        figures.put(&format!("operator_memory_mib_{figure}"), (memory * 10.0).round() / 10.0);
    }
    assert!(memory_mib().await? < MEMORY_MIB, "the operator takes {} MiB", memory_mib().await?);
    kubectl(&["delete", "flowschema", FLOW]).await?;
    Ok(figures)
}

/// Has the API server count what the operator asks.
async fn count_apart() -> Result<()> {
    let subject =
        json!({"kind": "ServiceAccount", "serviceAccount": {"name": operator::NAME, "namespace": operator::NAMESPACE}});
    let rule =
        json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true});
    apply(&json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": FLOW},
        "spec": {
            "matchingPrecedence": 500,
            "priorityLevelConfiguration": {"name": "workload-low"},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{"subjects": [subject], "resourceRules": [rule]}],
        },
    }))
    .await?;
    until("the operator's requests are counted", LIMIT, || async {
        match requests().await {
            Ok(count) if count > 0 => Ok(()),
            Ok(_) => Err("none yet".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await?;
    Ok(())
}

/// Requests of both replicas so far. A watch counts once, when it begins.
async fn requests() -> Result<u64> {
    let metrics = kubectl(&["get", "--raw", "/metrics"]).await?;
    let own = format!("flow_schema=\"{FLOW}\"");
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("apiserver_flowcontrol_dispatched_requests_total{") && line.contains(&own));
    let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or_default();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(counted.map(value).sum::<f64>() as u64)
}

/// Memory that the process of the operator that works has in use (resident), in MiB.
async fn memory_mib() -> Result<f64> {
    let holder = operator::holder().await?;
    let pod = holder.rsplit_once('_').map_or(holder.as_str(), |(pod, _)| pod);
    let pids = machines::pids(operator::NAMESPACE, pod).await?;
    let pid = pids.first().ok_or_else(|| Failure(format!("no process of {pod}")))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
