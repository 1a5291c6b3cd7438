//! Nobody looks after the clusters: what is promised without the operator.

use std::time::Duration;

use granary_crds::StorageCluster;
use granary_tests::wait::until;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::{Scenario, s08_drain::allows};
use crate::{
    cluster::{Cluster, LIMIT},
    data::{nothing_lost, reader::Reader},
    failure::Result,
    faults,
    figures::Figures,
    operator,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "10_operator_away",
    says: "operator scaled to 0: reads, writes and failover go on, pods come back, status shows its age",
    run: |scene| Box::pin(away(scene)),
}];

/// Between two writes to a shard.
const PAUSE: Duration = Duration::from_millis(20);
/// A status is written at least once a minute: one that is older shows that nobody looks.
const OLD: Duration = Duration::from_secs(75);

async fn away(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let writer = cluster.writer(PAUSE).await?;
    let reader = Reader::start(cluster.client().await?, PAUSE).await?;

    // The budget follows a moment behind the status; who goes away earlier leaves one that lets nobody go.
    allows(&cluster, 1).await?;
    operator::scale(0).await?;
    until("no operator runs", LIMIT, || async {
        let pods = operator::pods().await.map_err(|error| error.to_string())?;
        if pods.is_empty() { Ok(()) } else { Err(format!("{pods:?}")) }
    })
    .await?;
    let last = observed(&cluster.get().await?);
    scene.say(format!("no operator runs; the status is of {last:?}"));
    writer.take_longest_gap();

    // A leader's process dies, then a pod is lost.
    let before = cluster.runs().await?;
    let leader = leader(&cluster).await?;
    let (written, read) = (writer.acknowledged(), reader.answered());
    faults::kill(&cluster, &leader).await?;
    comes_back(&cluster, &leader, &before[&leader]).await?;
    figures.millis("gap_process_killed_ms", writer.take_longest_gap());
    assert_eq!(cluster.runs().await?[&leader], (before[&leader].0.clone(), before[&leader].1 + 1));

    let before = cluster.runs().await?;
    let leader = self::leader(&cluster).await?;
    faults::delete(&cluster, "pod", &leader, &["--wait=false"]).await?;
    comes_back(&cluster, &leader, &before[&leader]).await?;
    figures.millis("gap_pod_deleted_ms", writer.take_longest_gap());
    assert_ne!(cluster.runs().await?[&leader].0, before[&leader].0, "uid of {leader}, which was deleted");
    assert!(writer.acknowledged() > written && reader.answered() > read, "nothing was written or read meanwhile");
    // The budget is honest while nobody looks after it: one may go, not two.
    until("a pod may be evicted", LIMIT, || async {
        match faults::evict(&cluster, "demo-node-0-0").await {
            Ok(true) => Ok(()),
            Ok(false) => Err("the budget forbids it, though nothing is down".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await?;
    assert!(!faults::evict(&cluster, "demo-node-1-0").await?, "a second pod was evicted beside the first");
    until("the evicted pod is back", LIMIT, || async {
        let pods = cluster.pods().await.map_err(|error| error.to_string())?;
        if pods.len() == 3 { Ok(()) } else { Err(format!("{:?}", pods.keys())) }
    })
    .await?;
    cluster.whole(LIMIT).await?;

    until("the status is old", LIMIT, || async {
        let now = observed(&cluster.get().await.map_err(|error| error.to_string())?);
        let age = now.and_then(|at| Timestamp::now().duration_since(at).try_into().ok()).unwrap_or(Duration::ZERO);
        if age > OLD { Ok(()) } else { Err(format!("{age:?}")) }
    })
    .await?;
    assert_eq!(observed(&cluster.get().await?), last, "the status changed while no operator ran");
    let table = cluster.kubectl(&["get", "gsc", "demo", "-o", "wide"]).await?;
    scene.say(table.trim().replace('\n', "\n          "));
    assert!(table.contains("SEEN"), "kubectl get -o wide does not tell the age of the status: {table}");

    let runs = cluster.runs().await?;
    operator::install().await?;
    let back = cluster
        .wait_for("the status is new", LIMIT, |cluster| {
            if observed(cluster) > last { Ok(()) } else { Err(format!("it is of {last:?}")) }
        })
        .await?;
    scene.say(format!("the operator is back; the status is of {:?}", observed(&back)));
    cluster.ready(3).await?;
    assert_eq!(cluster.runs().await?, runs, "pods, after the operator came back");
    figures.put("reads_answered", reader.nothing_failed().await?);
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

/// When the status was written.
fn observed(cluster: &StorageCluster) -> Option<Timestamp> {
    cluster.status.as_ref()?.observed_time.as_ref()?.parse().ok()
}

/// Pod of the node that leads the first shard.
async fn leader(cluster: &Cluster) -> Result<String> {
    let led = until("shard 1 has a leader", LIMIT, || async {
        let state = cluster.state().await.map_err(|error| error.to_string())?;
        state.leader(1).ok_or_else(|| "none".to_owned())
    });
    Ok(format!("demo-{}-0", led.await?))
}

/// Waits until the pod runs anew and every shard is whole.
async fn comes_back(cluster: &Cluster, pod: &str, before: &(String, i32)) -> Result<()> {
    until(&format!("{pod} is back"), LIMIT, || async {
        match cluster.runs().await.map_err(|error| error.to_string())?.get(pod) {
            Some(now) if now != before => Ok(()),
            now => Err(format!("{now:?}, before {before:?}")),
        }
    })
    .await?;
    cluster.whole(LIMIT).await?;
    let ready = format!("pod/{pod}");
    cluster.kubectl(&["wait", "--for=condition=Ready", &ready, "--timeout=120s"]).await.map(drop)
}
