//! A cluster that cannot be reached delays no other.

use std::time::{Duration, Instant};

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

pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "19_unreachable_cluster",
    says: "no node of a cluster answers: its status says so, and another one is scaled as quickly as before",
    run: |scene| Box::pin(unreachable(scene)),
}];

/// What a busy machine may add to one run over another.
const NOISE: Duration = Duration::from_secs(30);

async fn unreachable(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let namespace = scene.namespace("data").await?;
    let far = Cluster::new(&scene.client, &namespace, "far");
    let near = Cluster::new(&scene.client, &namespace, "near");
    far.apply(json!({})).await?;
    near.apply(json!({})).await?;
    far.ready(3).await?;
    near.ready(3).await?;
    let writer = near.writer(Duration::from_millis(100)).await?;

    let alone = scaled(&near, 4).await?;
    scaled(&near, 3).await?;
    figures.seconds("scale_up_s", alone);

    let (pods, runs) = (far.pods().await?, far.runs().await?);
    let mut stopped = Vec::new();
    for pod in pods.keys() {
        // They take connections, and answer nothing: worse than a refusal.
        stopped.push(faults::stop(&far, pod).await?);
    }
    assert_eq!(stopped.len(), 3);
    let started = Instant::now();
    far.condition("Available", "Unknown", LIMIT).await?;
    figures.seconds("unknown_after_s", started.elapsed());
    far.condition("Ready", "Unknown", LIMIT).await?;
    scene.say(format!("far is unknown after {:?}", started.elapsed()));

    let beside = scaled(&near, 4).await?;
    figures.seconds("scale_up_beside_it_s", beside);
    scene.say(format!("3 to 4: {alone:?} before, {beside:?} beside a cluster that does not answer"));
    far.condition("Available", "Unknown", Duration::from_secs(1)).await?;
    assert!(beside < alone * 2 + NOISE, "{beside:?}, without the other one {alone:?}");
    let began = Instant::now();
    near.patch(json!({"replicas": 3})).await?;
    near.wait_for("the change is planned", LIMIT, |cluster| {
        let planned = cluster.status.as_ref().and_then(|status| status.observed_generation);
        if planned == cluster.metadata.generation { Ok(()) } else { Err(format!("{planned:?}")) }
    })
    .await?;
    figures.seconds("planned_after_s", began.elapsed());

    drop(stopped);
    near.ready(3).await?;
    far.ready(3).await?;
    far.whole(LIMIT).await?;
    let uids = |runs: &std::collections::BTreeMap<String, (String, i32)>| -> Vec<String> {
        runs.values().map(|(uid, _)| uid.clone()).collect()
    };
    assert_eq!(uids(&far.runs().await?), uids(&runs), "pods of far: nothing is done to what is unknown");
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

/// How long a change of the number of nodes takes.
async fn scaled(cluster: &Cluster, replicas: u32) -> Result<Duration> {
    let started = Instant::now();
    cluster.scale(replicas).await?;
    cluster.ready(i32::try_from(replicas)?).await?;
    Ok(started.elapsed())
}
