//! A StorageCluster that is deleted and applied again: its data is there, and it is the same cluster.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use granary_tests::wait::until;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT},
    data::{load::Load, lost_nothing_acknowledged},
    failure::Result,
    figures::Figures,
    kubectl::get_json,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "14_deleted_and_applied_again",
        says: "deleted and applied again, later and in the same moment: the same nodes with the same data",
        run: |scene| Box::pin(same_data(scene)),
    },
    Scenario {
        name: "14b_applied_again_with_fewer_nodes",
        says: "deleted at 5, applied again with 3: all five start, then two drain",
        run: |scene| Box::pin(fewer_nodes(scene)),
    },
    Scenario {
        name: "14c_applied_again_with_other_shards",
        says: "applied again with other shards: refused with both numbers, nothing is moved; with the right ones it goes on",
        run: |scene| Box::pin(other_shards(scene)),
    },
    Scenario {
        name: "14d_orphaned_and_applied_again",
        says: "kubectl delete --cascade=orphan, applied again: adopted, no pod is restarted, no write fails",
        run: |scene| Box::pin(orphaned(scene)),
    },
];

/// Between two writes to a shard.
const PAUSE: Duration = Duration::from_millis(50);
/// Megabytes stored.
const STORED: u64 = 20;

async fn same_data(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let load = Load::store(&cluster.client().await?, STORED).await?;
    let writer = cluster.writer(PAUSE).await?;
    let (id, members, before) = (cluster.cluster_id().await?, members(&cluster).await?, cluster.objects().await?);

    cluster.delete().await?;
    no_pods(&cluster).await?;
    let kept = cluster.objects().await?;
    assert_eq!((&kept.claims, &kept.policies), (&before.claims, &before.policies), "what is left behind");
    assert!(kept.policies.values().all(|policy| policy == "Retain"), "{:?}", kept.policies);
    let left = cluster.kubectl(&["get", "sts,svc,pdb,networkpolicy", "-o", "name"]).await?;
    assert_eq!(left, "", "objects that should have gone with the StorageCluster");

    let started = Instant::now();
    cluster.apply(json!({})).await?;
    cluster.ready(3).await?;
    figures.seconds("applied_again_to_ready_s", started.elapsed());
    scene.say(format!("Ready again after {:?}", started.elapsed()));
    is_the_same(&cluster, &id, &members).await?;
    figures.put("keys_verified", load.verify(&cluster.client().await?).await?);

    // In the same moment, while what belonged to the first one is still going.
    cluster.delete().await?;
    cluster.apply(json!({})).await?;
    until("the pods are those of the new one, and ready", LIMIT, || async {
        let uid = cluster.get().await.map_err(|error| error.to_string())?.uid();
        let sets = cluster.sets().await.map_err(|error| error.to_string())?;
        let owned = |set: &&k8s_openapi::api::apps::v1::StatefulSet| {
            set.owner_references().iter().any(|owner| Some(&owner.uid) == uid.as_ref())
                && set.metadata.deletion_timestamp.is_none()
                && set.status.as_ref().and_then(|status| status.ready_replicas) == Some(1)
        };
        let ours = sets.values().filter(owned).count();
        if ours == 3 { Ok(()) } else { Err(format!("{ours} of 3")) }
    })
    .await?;
    cluster.ready(3).await?;
    is_the_same(&cluster, &id, &members).await?;
    let after = cluster.objects().await?;
    assert_eq!((&after.claims, &after.policies), (&before.claims, &before.policies));
    load.verify(&cluster.client().await?).await?;
    // Nobody served for a while, perhaps for longer than a client waits.
    figures.put("writes_acknowledged", lost_nothing_acknowledged(writer).await?);
    Ok(figures)
}

async fn fewer_nodes(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({"replicas": 5})).await?;
    cluster.ready(5).await?;
    let load = Load::store(&cluster.client().await?, STORED).await?;
    let writer = cluster.writer(PAUSE).await?;
    let (id, members) = (cluster.cluster_id().await?, members(&cluster).await?);
    cluster.delete().await?;
    no_pods(&cluster).await?;

    cluster.apply(json!({"replicas": 3})).await?;
    let joined = cluster
        .state_until("all five serve again", LIMIT, |state| {
            let active = state.0.nodes.iter().filter(|node| node.silent_for_ms < 2_000).count();
            if state.members().len() == 5 && active == 5 { Ok(()) } else { Err(format!("{active} are heard")) }
        })
        .await?;
    let names = |state: &crate::cluster::State| state.members().into_keys().collect::<BTreeSet<_>>();
    assert_eq!(names(&joined), members.iter().map(|(name, _)| name.clone()).collect());
    scene.say("all five are members and heard");
    cluster.ready(3).await?;
    let state = cluster.whole(LIMIT).await?;
    let stayed: Vec<_> = state.members().into_iter().map(|(name, node)| (name, node.id)).collect();
    assert!(stayed.iter().all(|node| members.contains(node)), "other nodes: {members:?}, then {stayed:?}");
    assert_eq!(cluster.cluster_id().await?, id);
    let given_up = cluster.claims().await?;
    let given_up = given_up.values().filter(|claim| claim.annotations().contains_key("granary.io/removed")).count();
    assert_eq!((cluster.claims().await?.len(), given_up), (5, 2), "claims, and those of nodes that left");
    figures.put("keys_verified", load.verify(&cluster.client().await?).await?);
    figures.put("writes_acknowledged", lost_nothing_acknowledged(writer).await?);
    Ok(figures)
}

async fn other_shards(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let load = Load::store(&cluster.client().await?, STORED).await?;
    let writer = cluster.writer(PAUSE).await?;
    let (id, members, before) = (cluster.cluster_id().await?, members(&cluster).await?, cluster.objects().await?);
    cluster.delete().await?;
    no_pods(&cluster).await?;

    cluster.apply(json!({"shards": 32})).await?;
    let told = cluster.degraded("SpecConflict").await?;
    scene.say(&told);
    assert!(told.contains("is 32") && told.contains("made with 16"), "without both numbers: {told}");
    // It serves, and nothing is moved.
    cluster.whole(LIMIT).await?;
    is_the_same(&cluster, &id, &members).await?;
    load.verify(&cluster.client().await?).await?;

    // What the page says: the number is fixed on this StorageCluster too, so it is deleted and applied again.
    cluster.patch(json!({"shards": 16})).await.expect_err("the API server lets shards be changed");
    cluster.delete().await?;
    no_pods(&cluster).await?;
    cluster.apply(json!({})).await?;
    cluster.ready(3).await?;
    is_the_same(&cluster, &id, &members).await?;
    let after = cluster.objects().await?;
    assert_eq!((&after.claims, &after.policies), (&before.claims, &before.policies));
    figures.put("keys_verified", load.verify(&cluster.client().await?).await?);
    figures.put("writes_acknowledged", lost_nothing_acknowledged(writer).await?);
    Ok(figures)
}

async fn orphaned(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let writer = cluster.writer(PAUSE).await?;
    let (id, members) = (cluster.cluster_id().await?, members(&cluster).await?);
    let (before, runs) = (cluster.objects().await?, cluster.runs().await?);
    writer.take_longest_gap();

    cluster.kubectl(&["delete", "gsc", "demo", "--cascade=orphan", "--timeout=120s"]).await?;
    assert_eq!(owners(&cluster).await?, BTreeSet::new(), "owners after the orphaning");
    let acknowledged = writer.acknowledged();
    until("it serves without a StorageCluster", LIMIT, || async {
        let more = writer.acknowledged() - acknowledged;
        if more >= 500 { Ok(()) } else { Err(format!("{more} writes")) }
    })
    .await?;
    cluster.apply(json!({})).await?;
    cluster.ready(3).await?;
    let uid = cluster.get().await?.uid().unwrap_or_default();
    until("every object is owned by the new StorageCluster", LIMIT, || async {
        let owners = owners(&cluster).await.map_err(|error| error.to_string())?;
        if owners == BTreeSet::from([uid.clone()]) { Ok(()) } else { Err(format!("{owners:?}, wanted {uid}")) }
    })
    .await?;
    is_the_same(&cluster, &id, &members).await?;
    assert_eq!(cluster.objects().await?, before);
    assert_eq!(cluster.runs().await?, runs, "pods and restarts");
    figures.millis("longest_write_gap_ms", writer.take_longest_gap());

    // Adopted means that they go with it.
    cluster.delete().await?;
    no_pods(&cluster).await?;
    cluster.apply(json!({})).await?;
    cluster.ready(3).await?;
    is_the_same(&cluster, &id, &members).await?;
    figures.put("writes_acknowledged", lost_nothing_acknowledged(writer).await?);
    Ok(figures)
}

async fn is_the_same(cluster: &Cluster, id: &str, members: &[(String, u64)]) -> Result<()> {
    assert_eq!(cluster.cluster_id().await?, id, "the cluster's id");
    assert_eq!(self::members(cluster).await?, members, "names and ids of the nodes");
    Ok(())
}

/// Names and ids of the nodes.
async fn members(cluster: &Cluster) -> Result<Vec<(String, u64)>> {
    let state = cluster.whole(LIMIT).await?;
    Ok(state.members().into_iter().map(|(name, node)| (name, node.id)).collect())
}

async fn no_pods(cluster: &Cluster) -> Result<()> {
    until("its pods and sets are gone", LIMIT, || async {
        let (pods, sets) = (cluster.pods().await, cluster.sets().await);
        let left = pods.map_err(|error| error.to_string())?.len() + sets.map_err(|error| error.to_string())?.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    })
    .await?;
    Ok(())
}

/// Uids of the owners of all that a StorageCluster owns.
async fn owners(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let kinds = "sts,svc,pdb,networkpolicy,serviceaccount";
    let labels = format!("granary.io/cluster={}", cluster.name);
    let objects = get_json(&["-n", &cluster.namespace, kinds, "-l", &labels]).await?;
    let objects = objects["items"].as_array().cloned().unwrap_or_default();
    assert_eq!(objects.len(), 8, "three sets, two Services, a budget, a policy, an account: {objects:?}");
    let uids = |object: &Value| {
        let owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        owners.iter().map(|owner| owner["uid"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    Ok(objects.iter().flat_map(uids).collect())
}
