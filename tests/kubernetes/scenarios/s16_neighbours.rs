//! Clusters beside each other: of one name in two namespaces, and of names that begin alike in one.

use std::time::Duration;

use granary_tests::{wait::until, writer::Writer};
use serde_json::json;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT},
    data::{client_pod::granary_in_pod, nothing_lost},
    failure::Result,
    figures::Figures,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "16_neighbours",
    says: "demo in two namespaces, and demo-client beside it: what is done to one is not felt by the others",
    run: |scene| Box::pin(neighbours(scene)),
}];

/// Between two writes to a shard.
const PAUSE: Duration = Duration::from_millis(50);

async fn neighbours(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let (a, b) = (scene.namespace("a").await?, scene.namespace("b").await?);
    let demo = Cluster::new(&scene.client, &a, "demo");
    let twin = Cluster::new(&scene.client, &b, "demo");
    // Its name is that of a Service of the first one.
    let beside = Cluster::new(&scene.client, &a, "demo-client");
    for cluster in [&demo, &twin, &beside] {
        cluster.apply(json!({})).await?;
    }
    let mut ids = Vec::new();
    for cluster in [&demo, &twin, &beside] {
        cluster.ready(3).await?;
        ids.push(cluster.cluster_id().await?);
        cluster.client().await?.put("whose", whose(cluster)).await?;
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "each has an id of its own: {ids:?}");
    for (cluster, service) in [(&demo, "demo-client"), (&twin, "demo-client"), (&beside, "demo-client-client")] {
        let found = cluster.client().await?.get("whose").await?.map(|found| found.value);
        assert_eq!(found.as_deref(), Some(whose(cluster).as_bytes()), "by the pods");
        let service = format!("{service}:7001");
        let pod = format!("reader-{}", cluster.name);
        let read = granary_in_pod(&cluster.namespace, &pod, &["--endpoints", &service, "get", "whose"]).await?;
        assert_eq!(read.trim(), whose(cluster), "by the Service {service}");
    }

    let writers = (demo.writer(PAUSE).await?, twin.writer(PAUSE).await?);
    let before = (demo.objects().await?, demo.runs().await?, twin.objects().await?, twin.runs().await?);
    // One more node, then all of it with its data.
    beside.scale(4).await?;
    beside.ready(4).await?;
    beside.patch(json!({"deletionPolicy": "Delete"})).await?;
    until("its finalizer is set", LIMIT, || async {
        let finalizers = beside.get().await.map_err(|error| error.to_string())?.metadata.finalizers;
        if finalizers.is_some() { Ok(()) } else { Err("it is not".to_owned()) }
    })
    .await?;
    beside.delete().await?;
    until("its claims are gone", LIMIT, || async {
        let left = beside.claims().await.map_err(|error| error.to_string())?.into_keys().collect::<Vec<_>>();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await?;
    scene.say("demo-client is gone with its data");
    demo.ready(3).await?;
    twin.ready(3).await?;
    assert_eq!((demo.objects().await?, demo.runs().await?), (before.0.clone(), before.1), "demo beside it");
    assert_eq!((twin.objects().await?, twin.runs().await?), (before.2.clone(), before.3.clone()), "demo elsewhere");

    // A namesake that goes and comes back.
    demo.delete().await?;
    until("its pods are gone", LIMIT, || async {
        let left = demo.pods().await.map_err(|error| error.to_string())?.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    })
    .await?;
    demo.apply(json!({})).await?;
    demo.ready(3).await?;
    assert_eq!((twin.objects().await?, twin.runs().await?), (before.2, before.3), "demo elsewhere");
    assert_eq!(demo.objects().await?.claims, before.0.claims, "claims of the one that came back");
    let found = demo.client().await?.get("whose").await?.map(|found| found.value);
    assert_eq!(found.as_deref(), Some(whose(&demo).as_bytes()));

    figures.put("writes_acknowledged_elsewhere", nothing_lost(writers.1).await?);
    // This one was away, perhaps for longer than a client waits.
    figures.put("writes_acknowledged", away(writers.0).await?);
    Ok(figures)
}

async fn away(writer: Writer) -> Result<u64> {
    crate::data::lost_nothing_acknowledged(writer).await
}

fn whose(cluster: &Cluster) -> String {
    format!("{}/{}", cluster.namespace, cluster.name)
}
