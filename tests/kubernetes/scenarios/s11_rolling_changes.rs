//! Changes that make every pod anew: one at a time, under load.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use granary_crds::StorageCluster;
use granary_tests::{wait::until, writer::Writer};
use serde_json::json;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT, condition, reason},
    data::{load::Load, nothing_lost, reader::Reader},
    failure::Result,
    figures::Figures,
    machines,
    pod_watch::PodWatch,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "11_rolling_changes",
        says: "image, resources and a restart under load: each pod is made anew once, one at a time, no request fails",
        run: |scene| Box::pin(rolling(scene)),
    },
    Scenario {
        name: "11b_broken_image",
        says: "an image that does not run stops the roll at one node; going back repairs it, so does going on",
        run: |scene| Box::pin(broken(scene)),
    },
];

/// Between two writes to a shard.
const PAUSE: Duration = Duration::from_millis(10);
/// The pods of three nodes.
const PODS: [&str; 3] = ["demo-node-0-0", "demo-node-1-0", "demo-node-2-0"];

async fn rolling(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let client = cluster.client().await?;
    let load = Load::store(&client, 50).await?;
    let writer = cluster.writer(PAUSE).await?;
    let reader = Reader::start(client.clone(), PAUSE).await?;

    let (time, gap) = roll(scene, &cluster, &writer, "image", Change::Spec(json!({"image": "granary:0.1.1"}))).await?;
    figures.seconds("roll_s", time);
    figures.millis("longest_gap_ms", gap);
    assert_eq!(images(&cluster).await?, ["granary:0.1.1"; 3]);

    let change = Change::Spec(json!({"resources": {"requests": {"cpu": "60m"}}}));
    let (time, gap) = roll(scene, &cluster, &writer, "resources", change).await?;
    figures.seconds("roll_resources_s", time);
    figures.millis("longest_gap_resources_ms", gap);

    let (time, gap) = roll(scene, &cluster, &writer, "restart", Change::Restart("once")).await?;
    figures.seconds("roll_restart_s", time);
    figures.millis("longest_gap_restart_ms", gap);

    // The same value again, and another change that is none of the pods': nothing restarts.
    let runs = cluster.runs().await?;
    annotate(&cluster, "once").await?;
    cluster.patch(json!({"failover": {"replaceAfter": "6m"}})).await?;
    cluster.ready(3).await?;
    assert_eq!(cluster.runs().await?, runs, "pods after a change that is none of theirs");

    figures.put("keys_verified", load.verify(&client).await?);
    figures.put("reads_answered", reader.nothing_failed().await?);
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

/// What makes every pod anew.
enum Change {
    Spec(serde_json::Value),
    Restart(&'static str),
}

/// Makes a change and waits until it is done. Gives how long it took, and how long a shard took no write meanwhile.
async fn roll(
    scene: &Scene,
    cluster: &Cluster,
    writer: &Writer,
    what: &str,
    change: Change,
) -> Result<(Duration, Duration)> {
    let (before, written) = (cluster.state().await?.members(), writer.acknowledged());
    let pods = PodWatch::of_cluster(&scene.client, cluster);
    until("the watch has seen the pods", LIMIT, || async {
        let seen = pods.seen().uids.len();
        if seen == 3 { Ok(()) } else { Err(format!("{seen} of 3")) }
    })
    .await?;
    writer.take_longest_gap();
    let started = Instant::now();
    match change {
        // Ready for this generation means that all of it is done.
        Change::Spec(spec) => cluster.patch(spec).await?,
        Change::Restart(value) => {
            annotate(cluster, value).await?;
            until("all pods are made anew", LIMIT, || async {
                let remade = pods.seen().remade();
                if remade.values().all(|times| *times > 0) { Ok(()) } else { Err(format!("{remade:?}")) }
            })
            .await?;
        }
    }
    cluster.ready(3).await?;
    let (time, gap) = (started.elapsed(), writer.take_longest_gap());
    let pods = pods.end().await;
    scene.say(format!("{what}: {time:?}, longest gap {gap:?}; {:?}", pods.remade()));
    assert_eq!(pods.remade(), BTreeMap::from(PODS.map(|pod| (pod.to_owned(), 1))), "how often pods were made anew");
    assert_eq!((pods.most_down, pods.restarts), (1, 0), "pods down at the same time, and restarts: {pods:?}");
    assert_eq!(ids(&cluster.state().await?.members()), ids(&before), "the same nodes as before");
    assert!(writer.acknowledged() > written, "nothing was written meanwhile");
    cluster.whole(LIMIT).await?;
    Ok((time, gap))
}

async fn broken(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let writer = cluster.writer(PAUSE).await?;
    let reader = Reader::start(cluster.client().await?, PAUSE).await?;

    // An image that nobody has, and back.
    let before = cluster.runs().await?;
    let pods = PodWatch::of_cluster(&scene.client, &cluster);
    cluster.patch(json!({"image": "granary:missing"})).await?;
    // A registry that answers late lets the node count as stuck first; the cause is named either way.
    let message = degraded(&cluster, &["ImagePull", "RestartStuck"], "granary:missing").await?;
    scene.say(format!("Degraded: {message}"));
    let stuck = stopped_at_one(&cluster, &writer, &before).await?;
    let started = Instant::now();
    cluster.patch(json!({"image": "granary:0.1.0"})).await?;
    cluster.ready(3).await?;
    figures.seconds("way_back_s", started.elapsed());
    let seen = pods.end().await;
    let expected = PODS.map(|pod| (pod.to_owned(), if pod == stuck { 2 } else { 0 }));
    assert_eq!(seen.remade(), BTreeMap::from(expected), "how often pods were made anew: {stuck} was stuck");
    assert_eq!(seen.most_down, 1, "pods down at the same time: {seen:?}");
    cluster.whole(LIMIT).await?;

    // An image without the program, and on to one that has it.
    machines::tag_image("localhost/testbox:1", "granary:broken").await?;
    let before = cluster.runs().await?;
    let pods = PodWatch::of_cluster(&scene.client, &cluster);
    cluster.patch(json!({"image": "granary:broken"})).await?;
    let message = degraded(&cluster, &["RestartStuck"], "does not come back").await?;
    scene.say(format!("Degraded: {message}"));
    let stuck = stopped_at_one(&cluster, &writer, &before).await?;
    let started = Instant::now();
    cluster.patch(json!({"image": "granary:0.1.1"})).await?;
    cluster.ready(3).await?;
    figures.seconds("way_on_s", started.elapsed());
    assert_eq!(images(&cluster).await?, ["granary:0.1.1"; 3]);
    let seen = pods.end().await;
    let expected = PODS.map(|pod| (pod.to_owned(), if pod == stuck { 2 } else { 1 }));
    assert_eq!(seen.remade(), BTreeMap::from(expected), "how often pods were made anew: {stuck} was stuck");
    assert_eq!(seen.most_down, 1, "pods down at the same time: {seen:?}");
    cluster.whole(LIMIT).await?;

    figures.put("reads_answered", reader.nothing_failed().await?);
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

/// Waits until Degraded has one of these reasons, and `part` in its message; gives the message.
async fn degraded(cluster: &Cluster, wanted: &[&str], part: &str) -> Result<String> {
    let told = |cluster: &StorageCluster| {
        let told = wanted.iter().find_map(|wanted| reason(cluster, "Degraded", wanted).ok());
        match told {
            Some(message) if message.contains(part) => Ok(message),
            Some(message) => Err(format!("{message:?} does not say {part:?}")),
            None => Err(format!("Degraded has none of the reasons {wanted:?}")),
        }
    };
    let what = format!("Degraded with {wanted:?}");
    let found = cluster.wait_for(&what, LIMIT, |cluster| told(cluster).map(drop)).await?;
    told(&found).map_err(crate::failure::Failure)
}

/// While thousands of writes go on, one pod alone is another one than before; gives its name.
async fn stopped_at_one(
    cluster: &Cluster,
    writer: &Writer,
    before: &BTreeMap<String, (String, i32)>,
) -> Result<String> {
    let written = writer.acknowledged();
    until("writes go on", LIMIT, || async {
        let more = writer.acknowledged() - written;
        if more >= 5_000 { Ok(()) } else { Err(format!("{more} writes")) }
    })
    .await?;
    let now = cluster.runs().await?;
    let changed: Vec<_> = PODS.into_iter().filter(|pod| now.get(*pod) != before.get(*pod)).collect();
    assert_eq!(changed.len(), 1, "pods that are not as before: {changed:?}");
    let status: StorageCluster = cluster.get().await?;
    condition(&status, "Available", "True").map_err(crate::failure::Failure)?;
    Ok(changed[0].to_owned())
}

async fn annotate(cluster: &Cluster, value: &str) -> Result<()> {
    let annotation = format!("granary.io/restart={value}");
    cluster.kubectl(&["annotate", "gsc", &cluster.name, &annotation, "--overwrite"]).await.map(drop)
}

/// Image of each pod.
async fn images(cluster: &Cluster) -> Result<Vec<String>> {
    let pods = cluster.pods().await?;
    let image = |pod: &k8s_openapi::api::core::v1::Pod| pod.spec.as_ref()?.containers.first()?.image.clone();
    Ok(pods.values().filter_map(image).collect())
}

fn ids(members: &BTreeMap<String, granary_proto::map::Node>) -> Vec<(String, u64)> {
    members.iter().map(|(name, node)| (name.clone(), node.id)).collect()
}
