//! More nodes under load.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Scenario;
use crate::{
    cluster::LIMIT,
    data::{load::Load, nothing_lost},
    failure::Result,
    figures::{Figures, median, runs},
    progress::Progress,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "02_scale_3_to_5_under_load",
    says: "3 to 5 with 100 MB stored: progress in status, zones respected first, nothing lost",
    run: |scene| Box::pin(scale_up(scene)),
}];

/// Megabytes stored.
const STORED: u64 = 100;

async fn scale_up(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({"shards": 64})).await?;
    cluster.ready(3).await?;
    let client = cluster.client().await?;
    let started = Instant::now();
    let load = Load::store(&client, STORED).await?;
    scene.say(format!("{STORED} MB stored in {:?}", started.elapsed()));
    figures.seconds("load_100mb_s", started.elapsed());
    let writer = cluster.writer(Duration::from_millis(100)).await?;
    writer.take_longest_gap();

    let progress = Progress::watch(&scene.client, &cluster.namespace);
    let mut up = vec![cluster.scaled(5).await?];
    let seen = progress.end().await;
    scene.say(format!("Ready with 5 after {:?}; status said: {seen:?}", up[0]));
    assert!(seen.planned > 0, "no step was ever to be seen in status.plan");
    assert!(seen.migrating > 0, "no migration was ever to be seen in status.migration");
    figures.millis("longest_write_gap_ms", writer.take_longest_gap());

    let state = cluster.whole(LIMIT).await?;
    let mut replicas: Vec<_> = state.replicas().into_values().collect();
    replicas.sort_unstable();
    scene.say(format!("replicas on the nodes: {:?}", state.replicas()));
    // Three zones, two nodes in two of them: one copy of each shard in each zone.
    assert_eq!(replicas, [32, 32, 32, 32, 64]);
    assert!(state.sharing_a_zone().is_empty(), "two copies in one zone: shards {:?}", state.sharing_a_zone());

    // The figure is a median; the copies on the new nodes are made from nothing each time.
    for _ in 1..runs() {
        cluster.scaled(3).await?;
        up.push(cluster.scaled(5).await?);
    }
    scene.say(format!("Ready with 5 after {up:?}"));
    figures.seconds("scale_up_100mb_s", median(up));
    cluster.whole(LIMIT).await?;
    figures.put("keys_verified", load.verify(&client).await?);
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}
