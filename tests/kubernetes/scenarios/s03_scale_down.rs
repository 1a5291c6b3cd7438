//! Fewer nodes under load, and what becomes of the disks of those that left.

use std::time::Duration;

use granary_tests::wait::until;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT},
    data::{load::Load, nothing_lost},
    failure::Result,
    figures::{Figures, median, runs},
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "03_scale_5_to_3_under_load",
        says: "5 to 3 with 100 MB stored: drained by the nodes' word, nothing lost, claims kept and counted",
        run: |scene| Box::pin(scale_down(scene)),
    },
    Scenario {
        name: "03b_scale_down_deletes_disks",
        says: "whenScaled Delete: claims and volumes of nodes that left are deleted, those that stay are not",
        run: |scene| Box::pin(deletes_disks(scene)),
    },
];

/// Megabytes stored.
const STORED: u64 = 100;
/// Marks a claim that was given up.
const REMOVED: &str = "granary.io/removed";

async fn scale_down(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({"shards": 64, "replicas": 5})).await?;
    cluster.ready(5).await?;
    let client = cluster.client().await?;
    let load = Load::store(&client, STORED).await?;
    let writer = cluster.writer(Duration::from_millis(100)).await?;
    writer.take_longest_gap();
    scene.say(format!("{STORED} MB stored on 5 nodes"));

    let mut down = vec![cluster.scaled(3).await?];
    figures.millis("longest_write_gap_ms", writer.take_longest_gap());
    scene.say(format!("Ready with 3 after {:?}", down[0]));

    let state = cluster.whole(LIMIT).await?;
    assert_eq!(state.replicas().into_values().collect::<Vec<_>>(), [64, 64, 64], "{:?}", state.replicas());
    assert!(state.sharing_a_zone().is_empty(), "two copies in one zone: shards {:?}", state.sharing_a_zone());
    until("the pods of nodes that left are gone", LIMIT, || async {
        let pods = cluster.pods().await.map_err(|error| error.to_string())?;
        if pods.len() == 3 { Ok(()) } else { Err(format!("{:?}", pods.keys())) }
    })
    .await?;
    let claims = cluster.claims().await?;
    let given_up = claims.values().filter(|claim| claim.annotations().contains_key(REMOVED)).count();
    assert_eq!((claims.len(), given_up), (5, 2), "claims, and those of them marked as given up");
    let status = cluster
        .wait_for("two claims are counted as kept", Duration::from_secs(30), |cluster| {
            let kept = cluster.status.as_ref().map_or(0, |status| status.claims_kept);
            if kept == 2 { Ok(()) } else { Err(format!("{kept} claims kept")) }
        })
        .await?
        .status
        .unwrap_or_default();
    let command = status.claims_kept_command.unwrap_or_default();
    assert!(command.starts_with("kubectl"), "the command that removes them: {command:?}");
    scene.say(format!("removes the claims kept: {command}"));

    removes_kept_claims(&cluster, &command).await?;

    for _ in 1..runs() {
        cluster.scaled(5).await?;
        down.push(cluster.scaled(3).await?);
    }
    scene.say(format!("Ready with 3 after {down:?}"));
    figures.seconds("scale_down_100mb_s", median(down));
    cluster.whole(LIMIT).await?;
    figures.put("keys_verified", load.verify(&client).await?);
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

/// The command that status gives does what it says, and nothing else.
async fn removes_kept_claims(cluster: &Cluster, command: &str) -> Result<()> {
    crate::commands::run("bash", &["-c", command], "").await?.worked()?;
    until("only the claims of members are left", Duration::from_secs(60), || async {
        let claims = cluster.claims().await.map_err(|error| error.to_string())?;
        if claims.len() == 3 { Ok(()) } else { Err(format!("{:?}", claims.keys())) }
    })
    .await?;
    cluster.ready(3).await?;
    cluster.whole(LIMIT).await?;
    Ok(())
}

async fn deletes_disks(scene: &Scene) -> Result<Figures> {
    let cluster = scene
        .cluster(json!({"replicas": 4, "storage": {"whenScaled": "Delete", "className": "loop", "size": "1Gi"}}))
        .await?;
    cluster.ready(4).await?;
    let writer = cluster.writer(Duration::from_millis(50)).await?;
    let before = cluster.claims().await?;
    let volume =
        |claim: &str| before[claim].spec.as_ref().and_then(|spec| spec.volume_name.clone()).unwrap_or_default();

    cluster.scale(3).await?;
    cluster.ready(3).await?;
    let after = until("the claim of the node that left is deleted", LIMIT, || async {
        let claims = cluster.claims().await.map_err(|error| error.to_string())?;
        if claims.len() == 3 { Ok(claims) } else { Err(format!("{:?}", claims.keys())) }
    })
    .await?;
    let gone: Vec<_> = before.keys().filter(|claim| !after.contains_key(*claim)).collect();
    let volumes: Api<PersistentVolume> = Api::all(scene.client.clone());
    // Its class deletes volumes; it gets that policy back only once every shard is whole.
    let disk = volume(gone[0]);
    until(&format!("the volume of {} is deleted", gone[0]), LIMIT, || async {
        match volumes.get_opt(&disk).await.map_err(|error| error.to_string())? {
            None => Ok(()),
            Some(volume) => Err(format!(
                "{:?} {:?}",
                volume.spec.and_then(|spec| spec.persistent_volume_reclaim_policy),
                volume.status
            )),
        }
    })
    .await?;
    for claim in after.keys() {
        let policy = volumes.get(&volume(claim)).await?.spec.and_then(|spec| spec.persistent_volume_reclaim_policy);
        assert_eq!(policy.as_deref(), Some("Retain"), "volume of the member {claim}");
    }
    let mut figures = Figures::new();
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}
