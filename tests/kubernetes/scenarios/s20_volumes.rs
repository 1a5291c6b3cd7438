//! Volumes that grow and volumes that fill up.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use granary_crds::StorageCluster;
use granary_tests::wait::until;
use serde_json::json;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT, condition, reason, refused_condition},
    commands,
    data::{fill::Filled, lost_nothing_acknowledged, nothing_lost},
    failure::{Failure, Result},
    figures::Figures,
    machines,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "20_volumes_grow",
        says: "10Gi to 20Gi one after another, online; a new node gets the new size; a growth that fails is told",
        run: |scene| Box::pin(grow(scene)),
    },
    Scenario {
        name: "20b_class_that_does_not_grow",
        says: "a class without expansion: NoExpansion, and the cluster goes on",
        run: |scene| Box::pin(does_not_grow(scene)),
    },
    Scenario {
        name: "20c_volume_fills_up",
        says: "volumes fill up: DiskFull, reads go on, nothing crashes; growth brings writes back, nothing lost",
        run: |scene| Box::pin(fills_up(scene)),
    },
];

/// Condition of volumes that are too small.
const RESIZING: &str = "StorageResizing";
/// Within which a full disk is told, if it stays full.
const TOLD: Duration = Duration::from_secs(10);

async fn grow(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({"storage": {"className": "loop"}})).await?;
    let before = cluster.ready(3).await?;
    assert_eq!(storage_size(&before), Some("10Gi"));
    let writer = cluster.writer(Duration::from_millis(50)).await?;
    let runs = cluster.runs().await?;
    let small = file_system(&cluster, "demo-node-0-0").await?;
    writer.take_longest_gap();

    let started = Instant::now();
    cluster.patch(json!({"storage": {"size": "20Gi"}})).await?;
    let growing = cluster.wait_for("it grows", LIMIT, |cluster| condition(cluster, RESIZING, "True")).await?;
    scene.say(format!("after {:?}: {}", started.elapsed(), reason(&growing, RESIZING, "Growing").map_err(Failure)?));
    grown(&cluster, "20Gi", 3).await?;
    figures.seconds("three_volumes_grown_s", started.elapsed());
    figures.millis("longest_write_gap_ms", writer.take_longest_gap());
    let large = file_system(&cluster, "demo-node-0-0").await?;
    scene
        .say(format!("three volumes grew in {:?}; the first file system: {small} to {large} bytes", started.elapsed()));
    assert!(large > small * 19 / 10, "a file system of {small} bytes became one of {large}");
    assert_eq!(cluster.runs().await?, runs, "pods, after their volumes grew");
    cluster.ready(3).await?;

    cluster.scale(4).await?;
    cluster.ready(4).await?;
    grown(&cluster, "20Gi", 4).await?;
    let (sets, sizes) = (cluster.sets().await?.len(), sizes(&cluster).await?);
    assert_eq!((sets, sizes.get("demo-node-3").map(String::as_str)), (4, Some("20Gi")));

    // The driver makes none larger than 64Gi.
    let runs = cluster.runs().await?;
    cluster.patch(json!({"storage": {"size": "100Gi"}})).await?;
    let failed = cluster
        .wait_for("the growth failed", LIMIT, |cluster| {
            reason(cluster, "Degraded", "GrowthFailed")?;
            refused_condition(cluster, RESIZING, "GrowthFailed").map(drop)
        })
        .await?;
    let words = refused_condition(&failed, RESIZING, "GrowthFailed").map_err(Failure)?;
    scene.say(&words);
    assert!(words.contains("0 of 4 volumes have 100Gi") && words.contains("at most 68719476736"), "{words}");
    assert_eq!(storage_size(&failed), Some("20Gi"));
    condition(&failed, "Available", "True").map_err(Failure)?;
    assert_eq!(cluster.runs().await?, runs, "pods, after a growth that failed");

    // Disks never shrink, so the size is fixed in the StorageCluster; made anew over the same disks it takes another one.
    cluster.delete().await?;
    cluster.apply(json!({"storage": {"className": "loop", "size": "30Gi"}, "replicas": 4})).await?;
    cluster.ready(4).await?;
    grown(&cluster, "30Gi", 4).await?;
    cluster.condition("Degraded", "False", LIMIT).await?;
    scene.say("a size that can be had instead of the one that could not");
    // While the cluster was not there writes may have ended unknown.
    figures.put("writes_acknowledged", lost_nothing_acknowledged(writer).await?);
    Ok(figures)
}

async fn does_not_grow(scene: &Scene) -> Result<Figures> {
    let cluster = scene.cluster(json!({"storage": {"className": "fixed", "size": "1Gi"}})).await?;
    cluster.ready(3).await?;
    let writer = cluster.writer(Duration::from_millis(50)).await?;
    let runs = cluster.runs().await?;
    cluster.patch(json!({"storage": {"size": "2Gi"}})).await?;
    let told = cluster
        .wait_for("it is told", LIMIT, |cluster| {
            reason(cluster, "Degraded", "NoExpansion")?;
            refused_condition(cluster, RESIZING, "NoExpansion").map(drop)
        })
        .await?;
    let words = refused_condition(&told, RESIZING, "NoExpansion").map_err(Failure)?;
    scene.say(&words);
    assert!(words.contains("the storage class fixed does not allow volumes to grow"), "{words}");
    condition(&told, "Available", "True").map_err(Failure)?;
    // A new node has the new size, whatever the old ones have.
    cluster.scale(4).await?;
    cluster
        .wait_for("four members", LIMIT, |cluster| {
            let members = cluster.status.as_ref().map_or(0, |status| status.ready_nodes);
            if members == 4 { Ok(()) } else { Err(format!("{members} ready")) }
        })
        .await?;
    cluster.whole(LIMIT).await?;
    let sizes = sizes(&cluster).await?;
    let of = |name: &str| sizes.get(name).map(String::as_str);
    assert_eq!((of("demo-node-0"), of("demo-node-3")), (Some("1Gi"), Some("2Gi")));
    let now = cluster.runs().await?;
    assert!(runs.iter().all(|(pod, run)| now.get(pod) == Some(run)), "{runs:?}, later {now:?}");
    let mut figures = Figures::new();
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

async fn fills_up(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let storage = json!({"className": "loop", "size": "128Mi"});
    let cluster = scene.cluster(json!({"storage": storage, "shards": 8})).await?;
    cluster.ready(3).await?;
    let runs = cluster.runs().await?;
    let client = cluster.client().await?;

    let started = Instant::now();
    let mut filled = Filled::default();
    let full = loop {
        filled.until_refused(&client, LIMIT).await?;
        match cluster.wait_for("DiskFull", TOLD, |cluster| reason(cluster, "Degraded", "DiskFull").map(drop)).await {
            Ok(full) => break full,
            Err(failure) if started.elapsed() > LIMIT => return Err(failure),
            Err(_) => scene.say(format!("took writes again before it was told, with {} MB", filled.megabytes())),
        }
    };
    figures.put("full_with_mb", filled.megabytes());
    scene.say(format!("full with {} MB after {:?}", filled.megabytes(), started.elapsed()));
    scene.say(reason(&full, "Degraded", "DiskFull").map_err(Failure)?);
    let read_only = full.status.iter().flat_map(|status| &status.nodes).filter(|node| node.state == "ReadOnly").count();
    assert!(read_only > 0, "no node is shown as ReadOnly: {:?}", full.status.map(|status| status.nodes));
    figures.put("nodes_read_only", read_only);
    let keys = filled.verify(&client).await?;
    scene.say(format!("{keys} keys read while writes are refused"));
    assert_eq!(cluster.runs().await?, runs, "pods, while their disks are full");

    let started = Instant::now();
    cluster.patch(json!({"storage": {"size": "512Mi"}})).await?;
    until("writes are taken again", LIMIT, || async {
        client.put("after/growth", "written").await.map(drop).map_err(|error| error.to_string())
    })
    .await?;
    figures.seconds("growth_to_first_write_s", started.elapsed());
    cluster.condition("Degraded", "False", LIMIT).await?;
    grown(&cluster, "512Mi", 3).await?;
    cluster.ready(3).await?;
    figures.seconds("growth_to_healthy_s", started.elapsed());
    // By now every shard takes writes, not only that of one key.
    let writer = cluster.writer(Duration::from_millis(10)).await?;
    until("all shards are written", LIMIT, || async {
        let written = writer.acknowledged();
        if written >= 500 { Ok(()) } else { Err(format!("{written} writes")) }
    })
    .await?;
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    figures.put("keys_verified", filled.verify(&client).await?);
    cluster.whole(LIMIT).await?;
    assert_eq!(cluster.runs().await?, runs, "pods, after their full disks grew");
    Ok(figures)
}

/// Waits until status and claims say that all volumes have this size.
async fn grown(cluster: &Cluster, size: &str, nodes: usize) -> Result<()> {
    cluster
        .wait_for(&format!("all volumes have {size}"), LIMIT, |cluster| {
            if storage_size(cluster) != Some(size) {
                return Err(format!("status.storageSize is {:?}", storage_size(cluster)));
            }
            match condition(cluster, RESIZING, "True") {
                Ok(()) => Err("it still grows".to_owned()),
                Err(_) => Ok(()),
            }
        })
        .await?;
    let sizes = sizes(cluster).await?;
    if sizes.len() == nodes && sizes.values().all(|has| has == size) {
        Ok(())
    } else {
        Err(Failure(format!("status says {size}, the claims say {sizes:?}")))
    }
}

fn storage_size(cluster: &StorageCluster) -> Option<&str> {
    cluster.status.as_ref()?.storage_size.as_deref()
}

/// What the claims have, by name.
async fn sizes(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let claims = cluster.claims().await?.into_iter();
    let has = claims.map(|(name, claim)| {
        let capacity = claim.status.and_then(|status| status.capacity);
        (name, capacity.and_then(|capacity| capacity.get("storage").map(|size| size.0.clone())).unwrap_or_default())
    });
    Ok(has.collect())
}

/// Bytes of the file system that a pod has its data on.
async fn file_system(cluster: &Cluster, pod: &str) -> Result<u64> {
    let pids = machines::pids(&cluster.namespace, pod).await?;
    let pid = pids.first().ok_or_else(|| Failure(format!("no process of {pod} runs")))?;
    let data = format!("/proc/{pid}/root/data");
    // Not df: it looks for the mount among this process's own.
    let said = commands::run("stat", &["--file-system", "--format=%S %b", &data], "").await?.worked()?;
    let numbers: Vec<u64> = said.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
    Ok(numbers.iter().product())
}
