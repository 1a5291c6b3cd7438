//! A person who changes their mind: everything can be cancelled until its point of no return.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use kube::ResourceExt as _;
use serde_json::json;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT},
    data::{load::Load, nothing_lost},
    failure::Result,
    figures::Figures,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "04_mind_changed",
        says: "5, 3, 5 within a second, and again in the middle of the drain: the same five nodes, nothing lost",
        run: |scene| Box::pin(mind_changed(scene)),
    },
    Scenario {
        name: "04b_up_and_down_over_kept_claims",
        says: "3, 5, 3, 5 over claims that were kept: new nodes on new claims each time, nothing lost",
        run: |scene| Box::pin(over_kept_claims(scene)),
    },
];

async fn mind_changed(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({"replicas": 5, "shards": 64})).await?;
    cluster.ready(5).await?;
    let client = cluster.client().await?;
    let load = Load::store(&client, 50).await?;
    let writer = cluster.writer(Duration::from_millis(100)).await?;
    let (members, runs) = (ids(&cluster).await?, cluster.runs().await?);

    let started = Instant::now();
    cluster.scale(3).await?;
    cluster.scale(5).await?;
    scene.say(format!("5, 3, 5 within {:?}", started.elapsed()));
    cluster.ready(5).await?;
    figures.seconds("at_once_to_ready_s", started.elapsed());
    assert_eq!(ids(&cluster).await?, members, "members after 5, 3, 5 within a second");

    cluster.scale(3).await?;
    let before = cluster.state().await?.replicas();
    cluster
        .state_until("the drain is under way", LIMIT, |state| {
            let shrunk = |name: &String| state.replicas().get(name) < before.get(name);
            let draining: Vec<_> =
                state.members().into_values().filter(|node| node.state == 2).map(|node| node.name).collect();
            if draining.iter().any(shrunk) { Ok(()) } else { Err(format!("{draining:?} of {:?}", state.replicas())) }
        })
        .await?;
    let started = Instant::now();
    cluster.scale(5).await?;
    scene.say("5 again in the middle of the drain");
    cluster.ready(5).await?;
    figures.seconds("in_the_drain_to_ready_s", started.elapsed());
    assert_eq!(ids(&cluster).await?, members, "members after the drain was cancelled");
    assert_eq!(cluster.runs().await?, runs, "pods, and how often they were started");

    cluster.whole(LIMIT).await?;
    figures.put("keys_verified", load.verify(&client).await?);
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

async fn over_kept_claims(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let client = cluster.client().await?;
    let load = Load::store(&client, 20).await?;
    let writer = cluster.writer(Duration::from_millis(100)).await?;
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for (replicas, figure) in [(5, "first_up_s"), (3, "first_down_s"), (5, "second_up_s"), (3, "second_down_s")] {
        let started = Instant::now();
        cluster.scale(replicas).await?;
        cluster.ready(i32::try_from(replicas)?).await?;
        figures.seconds(figure, started.elapsed());
        scene.say(format!("Ready with {replicas} after {:?}", started.elapsed()));
        for (name, id) in ids(&cluster).await? {
            assert_eq!(*seen.entry(name.clone()).or_insert(id), id, "{name} has another id than it had");
        }
        assert_eq!(load.verify(&client).await?, 611);
    }
    assert_eq!(seen.len(), 7, "three nodes that stay and twice two that came and left: {seen:?}");
    let claims = cluster.claims().await?;
    let given_up = claims.values().filter(|claim| claim.annotations().contains_key("granary.io/removed")).count();
    assert_eq!((claims.len(), given_up), (7, 4), "claims, and those of them marked as given up");
    cluster.whole(LIMIT).await?;
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

/// Node ids of the members, by name.
async fn ids(cluster: &Cluster) -> Result<BTreeMap<String, u64>> {
    Ok(cluster.state().await?.members().into_iter().map(|(name, node)| (name, node.id)).collect())
}
