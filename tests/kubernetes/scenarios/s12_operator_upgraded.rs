//! A new version of the operator restarts no pod.

use std::time::{Duration, Instant};

use granary_tests::wait::until;
use serde_json::json;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT},
    data::nothing_lost,
    failure::Result,
    figures::Figures,
    operator,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "12_operator_upgraded",
    says: "helm upgrade to another image of the operator: it takes over, and no pod of any cluster is restarted",
    run: |scene| Box::pin(upgraded(scene)),
}];

/// Between two writes to a shard.
const PAUSE: Duration = Duration::from_millis(20);

async fn upgraded(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    let namespace = scene.namespace("other").await?;
    let other = Cluster::new(&scene.client, &namespace, "single");
    other.apply(json!({"replicas": 1, "replicationFactor": 1, "shards": 4})).await?;
    cluster.ready(3).await?;
    other.ready(1).await?;
    let writer = cluster.writer(PAUSE).await?;
    let before = (cluster.runs().await?, other.runs().await?, generations(&cluster).await?);
    let (pods, holder) = (operator::pods().await?, operator::holder().await?);
    writer.take_longest_gap();

    let started = Instant::now();
    operator::upgrade(&["--set", "image.tag=0.1.1"]).await?;
    figures.seconds("helm_upgrade_s", started.elapsed());
    until("a new process holds the Lease, and the old ones are gone", LIMIT, || async {
        let now = operator::pods().await.map_err(|error| error.to_string())?;
        let lease = operator::holder().await.map_err(|error| error.to_string())?;
        let done = !lease.is_empty() && lease != holder && now.iter().all(|pod| !pods.contains(pod));
        if done { Ok(()) } else { Err(format!("{now:?}, held by {lease:?}")) }
    })
    .await?;
    let upgraded = k8s_openapi::jiff::Timestamp::now();
    for one in [&cluster, &other] {
        // At least one whole round of the new one, which has told what it saw.
        one.wait_for("a status by the new operator", LIMIT, |cluster| {
            let observed = cluster.status.as_ref().and_then(|status| status.observed_time.as_ref()?.parse().ok());
            if observed > Some(upgraded) { Ok(()) } else { Err(format!("it is of {observed:?}")) }
        })
        .await?;
    }
    cluster.ready(3).await?;
    other.ready(1).await?;
    let after = (cluster.runs().await?, other.runs().await?, generations(&cluster).await?);
    assert_eq!(after, before, "uids and restarts of pods, and generations of their sets");
    figures.millis("longest_gap_ms", writer.take_longest_gap());
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    operator::install().await?;
    assert_eq!(cluster.runs().await?, before.0, "uids and restarts of pods, after the way back");
    Ok(figures)
}

/// Generation of each StatefulSet: equal maps mean that none was changed.
async fn generations(cluster: &Cluster) -> Result<Vec<(String, Option<i64>)>> {
    Ok(cluster.sets().await?.into_iter().map(|(name, set)| (name, set.metadata.generation)).collect())
}
