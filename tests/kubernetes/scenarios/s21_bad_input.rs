//! What people get wrong, and what they do by hand. Each ends in a condition that says what to do, and nothing is lost by
//! it: wishes that cannot be met, hands on what is the operator's, nodes that do not answer, an older image, an object
//! that cannot be read. Specs that are refused are in `s13_refused`.

use std::time::{Duration, Instant};

use granary_crds::{StorageCluster, status::Phase};
use granary_tests::wait::until;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT, condition},
    commands,
    data::{load::Load, lost_nothing_acknowledged, nothing_lost},
    failure::Result,
    faults,
    figures::Figures,
    kubectl::{get_json, kubectl, try_apply, try_kubectl},
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "21_wishes_that_cannot_be_met",
        says: "no such class, no such image, no room in zones, names that are taken: said with what to do, and mended by it",
        run: |scene| Box::pin(wishes(scene)),
    },
    Scenario {
        name: "21b_hands_on_what_is_the_operators",
        says: "a foreign claim, status and annotations edited, finalizer removed, paused in a drain and in a deletion",
        run: |scene| Box::pin(hands(scene)),
    },
    Scenario {
        name: "21c_nodes_that_do_not_answer",
        says: "no node answers for 30 s: Unknown, nothing is touched, and all goes on when they answer again",
        run: |scene| Box::pin(mute(scene)),
    },
    Scenario {
        name: "21d_image_older_than_the_data",
        says: "an image below the cluster's feature level is refused with both levels, stops at one node, and going back mends",
        run: |scene| Box::pin(older(scene)),
    },
    Scenario {
        name: "21e_stored_under_an_older_definition",
        says: "an object that cannot be read or breaks the rules gets an event; all others go on",
        run: |scene| Box::pin(unreadable(scene)),
    },
];

/// Between two writes to a shard.
const PAUSE: Duration = Duration::from_millis(50);
/// How long nobody answers. Nodes count as silent after 10 s, and are to be replaced after as much in this scenario.
const MUTE: Duration = Duration::from_secs(30);

async fn wishes(scene: &Scene) -> Result<Figures> {
    let namespace = scene.namespace("data").await?;
    let cluster = |name: &str| Cluster::new(&scene.client, &namespace, name);

    let class = cluster("class");
    class.apply(json!({"storage": {"className": "nowhere"}})).await?;
    let image = cluster("image");
    image.apply(json!({"image": "registry.invalid/granary:9"})).await?;
    // One node a zone, and there are three zones.
    let apart =
        json!({"topologyKey": "topology.kubernetes.io/zone", "labelSelector": {"matchLabels": {"only": "one"}}});
    let apart = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}});
    let zones = cluster("zones");
    zones.apply(json!({"replicas": 4, "affinity": apart, "podLabels": {"only": "one"}})).await?;
    let taken = cluster("taken");
    let foreign = foreign_objects(&namespace).await?;
    taken.apply(json!({})).await?;

    let told = class.degraded("NoStorageClass").await?;
    scene.say(&told);
    assert!(told.contains("nowhere") && told.contains("make it"), "{told}");
    let told = image.degraded("ImagePull").await?;
    scene.say(&told);
    assert!(told.contains("registry.invalid/granary:9") && told.contains("correct spec.image"), "{told}");
    let told = zones.degraded("Unschedulable").await?;
    scene.say(&told);
    // Which of the four has no room is the scheduler's choice.
    assert!(told.contains("node-") && told.contains("anti-affinity"), "{told}");
    let waits = zones.waits("NodesStarting").await?;
    assert!(
        waits.contains("4 nodes are members; 3 are") || waits.contains("3 of 4 are members"),
        "without its arithmetic: {waits}"
    );
    let told = taken.degraded("NameTaken").await?;
    scene.say(&told);
    assert!(told.contains("rename or remove it"), "{told}");
    for (kind, name) in TAKEN {
        let waits = taken.get().await?.status.unwrap_or_default().waiting;
        assert!(waits.iter().any(|line| line.contains(kind) && line.contains(name)), "{kind} {name}: {waits:?}");
    }
    assert_eq!(foreign_uids(&namespace).await?, foreign, "objects of somebody else");

    // Each is mended as it was told.
    class.kubectl(&["delete", "gsc", "class", "--timeout=120s"]).await?;
    image.patch(json!({"image": "granary:0.1.0"})).await?;
    zones.scale(3).await?;
    for (kind, name) in TAKEN {
        kubectl(&["-n", &namespace, "delete", kind, name]).await?;
    }
    image.ready(3).await?;
    zones.ready(3).await?;
    taken.ready(3).await?;
    let claims = zones.claims().await?;
    assert!(claims.len() >= 3, "{:?}", claims.keys());
    let mut figures = Figures::new();
    figures.put("mended", 3);
    Ok(figures)
}

/// Objects of names that the cluster `taken` needs.
const TAKEN: [(&str, &str); 3] =
    [("Service", "taken-client"), ("StatefulSet", "taken-node-1"), ("PersistentVolumeClaim", "taken-node-2")];

/// Makes them as somebody else would; gives their uids.
async fn foreign_objects(namespace: &str) -> Result<Vec<Value>> {
    kubectl(&["-n", namespace, "create", "service", "clusterip", TAKEN[0].1, "--tcp=80:80"]).await?;
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "none:1"}]}});
    let set = json!({"replicas": 0, "serviceName": "x", "selector": {"matchLabels": {"a": "b"}}, "template": template});
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    for (version, (kind, name), spec) in [("apps/v1", TAKEN[1], set), ("v1", TAKEN[2], claim)] {
        let metadata = json!({"name": name, "namespace": namespace});
        let object = json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec});
        try_apply(&object).await?.worked()?;
    }
    foreign_uids(namespace).await
}

/// Uid, generation and labels of each.
async fn foreign_uids(namespace: &str) -> Result<Vec<Value>> {
    let mut uids = Vec::new();
    for (kind, name) in TAKEN {
        let metadata = get_json(&["-n", namespace, kind, name]).await?["metadata"].take();
        uids.push(json!([metadata["uid"], metadata["generation"], metadata["labels"], metadata["ownerReferences"]]));
    }
    Ok(uids)
}

async fn hands(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let load = Load::store(&cluster.client().await?, 100).await?;
    let writer = cluster.writer(PAUSE).await?;
    let (id, before) = (cluster.cluster_id().await?, cluster.objects().await?);

    foreign_claim(scene, &cluster).await?;
    let four = cluster.objects().await?;
    assert!(before.pods.iter().all(|(pod, uid)| four.pods.get(pod) == Some(uid)), "{before:?}, then {four:?}");

    // Status is output: what is written there by hand is written over, and nothing follows from it.
    let lie = json!({"status": {"phase": "Degraded", "replicas": 0, "readyNodes": 0, "conditions": [], "claimsKept": 77,
        "nodes": [{"name": "demo-node-0", "nodeId": 1, "state": "Silent", "ready": false}]}});
    let lie = ["patch", "gsc", "demo", "--subresource=status", "--type=merge", "-p", &lie.to_string()];
    cluster.kubectl(&lie).await?;
    cluster.ready_within(4, LIMIT).await?;
    assert_eq!(cluster.get().await?.status.unwrap_or_default().claims_kept, 0);
    // What the operator noted of the cluster is found again in its claims.
    cluster.kubectl(&["annotate", "gsc", "demo", "granary.io/cluster-id-", "granary.io/bootstrapped-"]).await?;
    until("the annotations are there again", LIMIT, || async {
        let found = cluster.get().await.map_err(|error| error.to_string())?;
        let has = |name: &str| found.annotations().get(name).cloned().unwrap_or_default();
        let (now, founded) = (has("granary.io/cluster-id"), has("granary.io/bootstrapped"));
        if now == id && founded == "true" { Ok(()) } else { Err(format!("id {now:?}, bootstrapped {founded:?}")) }
    })
    .await?;
    finalizer(&cluster).await?;
    cluster.ready(4).await?;
    assert_eq!(cluster.objects().await?.pods, four.pods, "after status, annotations and finalizer were edited");
    scene.say("status, annotations and finalizer are as they were");

    paused_drain(scene, &cluster).await?;
    cluster.whole(LIMIT).await?;
    figures.put("keys_verified", load.verify(&cluster.client().await?).await?);
    figures.put("writes_acknowledged", nothing_lost(writer).await?);

    // Paused keeps nothing from being deleted.
    cluster.patch(json!({"paused": true, "deletionPolicy": "Delete"})).await?;
    has_finalizer(&cluster).await?;
    cluster.delete().await?;
    until("the claims of its nodes are gone", LIMIT, || async {
        let left = cluster.claims().await.map_err(|error| error.to_string())?.into_keys().collect::<Vec<_>>();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await?;
    Ok(figures)
}

/// A claim of the next number that belongs to another cluster: named with its owner, left alone, stepped over.
async fn foreign_claim(scene: &Scene, cluster: &Cluster) -> Result<()> {
    let labels = json!({
        "app.kubernetes.io/managed-by": "granary-operator", "app.kubernetes.io/name": "granary",
        "granary.io/cluster": "demo", "granary.io/node": "node-3",
    });
    let annotations = json!({"granary.io/cluster-id": "somebody-else", "granary.io/node-id": "2"});
    let metadata =
        json!({"name": "demo-node-3", "namespace": cluster.namespace, "labels": labels, "annotations": annotations});
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    try_apply(&json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}))
        .await?
        .worked()?;
    let told = cluster.degraded("ForeignClaim").await?;
    scene.say(&told);
    assert!(told.contains("belongs to somebody-else"), "{told}");
    let uid = cluster.claims().await?["demo-node-3"].uid();
    cluster.scale(4).await?;
    cluster
        .state_until("a fourth node is a member", LIMIT, |state| match state.members().contains_key("node-4") {
            true => state.whole(),
            false => Err(format!("{:?}", state.members().keys())),
        })
        .await?;
    assert_eq!(cluster.claims().await?["demo-node-3"].uid(), uid, "the claim of another cluster");
    let command = told.split_once("no use: ").map(|(_, command)| command.to_owned()).unwrap_or_default();
    commands::run("bash", &["-c", &command], "").await?.worked()?;
    cluster.ready(4).await.map(drop)
}

/// A finalizer that is removed by hand is set again while the policy is Delete, and taken away when it is not.
async fn finalizer(cluster: &Cluster) -> Result<()> {
    cluster.patch(json!({"deletionPolicy": "Delete"})).await?;
    has_finalizer(cluster).await?;
    cluster.kubectl(&["patch", "gsc", "demo", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]).await?;
    has_finalizer(cluster).await?;
    cluster.patch(json!({"deletionPolicy": "Retain"})).await?;
    until("the finalizer is taken away", LIMIT, || async {
        let finalizers = cluster.get().await.map_err(|error| error.to_string())?.metadata.finalizers;
        finalizers.map_or(Ok(()), |finalizers| Err(format!("{finalizers:?}")))
    })
    .await?;
    Ok(())
}

async fn has_finalizer(cluster: &Cluster) -> Result<()> {
    until("the finalizer is there", LIMIT, || async {
        let finalizers = cluster.get().await.map_err(|error| error.to_string())?.metadata.finalizers;
        let there = finalizers.iter().flatten().any(|name| name == "granary.io/delete-data");
        if there { Ok(()) } else { Err(format!("{finalizers:?}")) }
    })
    .await?;
    Ok(())
}

/// Paused in the middle of a drain: nobody is removed meanwhile, and then it goes on.
async fn paused_drain(scene: &Scene, cluster: &Cluster) -> Result<()> {
    cluster.scale(3).await?;
    cluster
        .state_until("a node drains", LIMIT, |state| {
            let draining = state.members().values().filter(|node| node.state == 2).count();
            if draining == 1 { Ok(()) } else { Err(format!("{draining} drain")) }
        })
        .await?;
    // Not by kubectl, which takes a moment.
    let api: Api<StorageCluster> = Api::namespaced(scene.client.clone(), &cluster.namespace);
    let pause = json!({"spec": {"paused": true}});
    api.patch("demo", &PatchParams::default(), &Patch::Merge(pause)).await?;
    let paused = cluster
        .wait_for("the phase is Paused", LIMIT, |cluster| {
            let phase = cluster.status.as_ref().map(|status| status.phase);
            if phase == Some(Phase::Paused) { Ok(()) } else { Err(format!("{phase:?}")) }
        })
        .await?;
    scene.say(format!("paused: {:?}", paused.status.map(|status| status.waiting)));
    let members = cluster.state().await?.members();
    assert_eq!(members.len(), 4, "the drain had ended before it was paused");
    let pods = cluster.objects().await?.pods;
    // The replicas that were on their way arrive, and that is all.
    cluster.state_until("nothing is on its way", LIMIT, |state| state.whole()).await?;
    let since = Instant::now();
    until("nothing happens for 10 s", LIMIT, || async {
        let now = cluster.state().await.map_err(|error| error.to_string())?.members();
        assert_eq!(now.len(), 4, "a node was removed while paused");
        if since.elapsed() >= Duration::from_secs(10) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await?;
    assert_eq!(cluster.objects().await?.pods, pods, "pods while paused");
    cluster.patch(json!({"paused": false})).await?;
    cluster.ready(3).await.map(drop)
}

async fn mute(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({"failover": {"replaceAfter": "10s"}})).await?;
    cluster.ready(3).await?;
    let writer = cluster.writer(PAUSE).await?;
    let before = (cluster.objects().await?, cluster.cluster_id().await?, cluster.whole(LIMIT).await?.members());

    let mut stopped = Vec::new();
    for pod in before.0.pods.keys() {
        stopped.push(faults::stop(&cluster, pod).await?);
    }
    let (since, acknowledged) = (Instant::now(), writer.acknowledged());
    let unknown = cluster.condition("Ready", "Unknown", MUTE).await?;
    figures.seconds("unknown_said_s", since.elapsed());
    condition(&unknown, "Available", "Unknown").map_err(crate::failure::Failure)?;
    scene.say(crate::cluster::said(&unknown));
    until("nobody answers for 30 s", LIMIT, || async {
        if since.elapsed() >= MUTE { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await?;
    assert_eq!(cluster.objects().await?, before.0, "pods, claims and volumes while nobody answers");
    assert!(writer.acknowledged() < acknowledged + 200, "somebody answered");
    drop(stopped);
    cluster.ready(3).await?;
    figures.seconds("ready_again_s", since.elapsed() - MUTE);
    let members = cluster.whole(LIMIT).await?.members();
    let ids = |members: &std::collections::BTreeMap<String, granary_proto::map::Node>| {
        members.values().map(|node| node.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&members), ids(&before.2), "the same nodes");
    assert_eq!((cluster.objects().await?, cluster.cluster_id().await?), (before.0, before.1));
    figures.put("writes_acknowledged", lost_nothing_acknowledged(writer).await?);
    Ok(figures)
}

async fn older(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let writer = cluster.writer(PAUSE).await?;
    let before = cluster.objects().await?;
    // With this the program does as a build of that level would.
    let level = json!([{"name": "GRANARY_FEATURE_LEVEL", "value": "0"}]);
    let older = json!({"spec": {"containers": [{"name": "node", "env": level}]}});
    cluster.patch(json!({"podTemplate": older})).await?;
    let told = cluster.degraded("Crashing").await?;
    scene.say(&told);
    for named in ["exit code 78", "feature level 0", "feature level 1"] {
        assert!(told.contains(named), "{named:?} is not in: {told}");
    }
    let acknowledged = writer.acknowledged();
    until("writes go on", LIMIT, || async {
        let more = writer.acknowledged() - acknowledged;
        if more >= 1_000 { Ok(()) } else { Err(format!("{more} writes")) }
    })
    .await?;
    let now = cluster.objects().await?;
    let anew = before.pods.iter().filter(|(pod, uid)| now.pods.get(*pod) != Some(uid)).count();
    assert_eq!(anew, 1, "pods that were made anew: {:?}, then {:?}", before.pods, now.pods);
    assert_eq!((&now.claims, &now.policies), (&before.claims, &before.policies));

    cluster.patch(json!({"podTemplate": null})).await?;
    cluster.ready(3).await?;
    let after = cluster.objects().await?;
    assert_eq!((&after.claims, &after.policies), (&before.claims, &before.policies));
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

/// The definition's name.
const DEFINITION: &str = "storageclusters.granary.io";

async fn unreadable(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let writer = cluster.writer(PAUSE).await?;
    let broken = Cluster::new(&scene.client, &cluster.namespace, "broken");
    let odd = Cluster::new(&scene.client, &cluster.namespace, "odd");

    // As an older definition, which knew no rules and other types.
    let definition = get_json(&["crd", DEFINITION]).await?;
    let mut older = definition.clone();
    older["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    // With it the API server itself insists that replicas is a number.
    older["spec"]["versions"][0]["subresources"] = json!({"status": {}});
    replace(&older).await?;
    let stored = async {
        accepted(&broken.wish(json!({"replicas": "three"}))).await?;
        accepted(&odd.wish(json!({"replicas": 2}))).await
    };
    let stored = stored.await;
    replace(&definition).await?;
    stored?;
    until("the definition's rules are in force again", LIMIT, || async {
        let wish = Cluster::new(&scene.client, &cluster.namespace, "probe").wish(json!({"replicas": 2}));
        let done = try_kubectl(&["apply", "--dry-run=server", "-f", "-"], &wish.to_string()).await;
        done.map_err(|error| error.to_string())?.refused().map(drop).map_err(|error| error.to_string())
    })
    .await?;

    let told = odd.degraded("InvalidSpec").await?;
    scene.say(&told);
    assert!(told.contains("2 with spec.replicationFactor 3"), "without its arithmetic: {told}");
    let event = until("an event on the one that cannot be read", LIMIT, || async {
        let found = get_json(&["-n", &cluster.namespace, "events.events.k8s.io"]).await;
        let events = found.map_err(|error| error.to_string())?["items"].as_array().cloned().unwrap_or_default();
        let is_it = |event: &&Value| event["regarding"]["name"] == "broken" && event["reason"] == "InvalidSpec";
        let event = events.iter().find(is_it).map(|event| event["note"].as_str().unwrap_or_default().to_owned());
        event.ok_or_else(|| format!("{} others", events.len()))
    })
    .await?;
    scene.say(&event);
    assert!(event.contains("cannot be read") && event.contains("replicas"), "{event}");
    for name in ["broken", "odd"] {
        let labels = format!("granary.io/cluster={name}");
        let made = cluster.kubectl(&["get", "sts,pod,pvc,svc", "-l", &labels, "-o", "name"]).await?;
        assert_eq!(made, "", "made for {name}");
    }

    // All others go on, those that are there and new ones.
    cluster.scale(4).await?;
    cluster.ready(4).await?;
    let another = Cluster::new(&scene.client, &cluster.namespace, "another");
    another.apply(json!({})).await?;
    another.ready(3).await?;
    // What is put right is followed, and what is not wanted can go.
    odd.patch(json!({"replicas": 3})).await?;
    odd.ready(3).await?;
    broken.delete().await?;
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

/// Waits until the API server takes it: a changed definition is in force only after a moment.
async fn accepted(object: &Value) -> Result<()> {
    until("the API server takes it", LIMIT, || async {
        let done = try_kubectl(&["create", "--validate=false", "-f", "-"], &object.to_string()).await;
        done.map_err(|error| error.to_string())?.worked().map(drop).map_err(|error| error.to_string())
    })
    .await?;
    Ok(())
}

/// `kubectl replace` of a definition, whatever its version is now.
async fn replace(definition: &Value) -> Result<()> {
    let mut definition = definition.clone();
    definition["metadata"]["resourceVersion"].take();
    definition["status"].take();
    try_kubectl(&["replace", "-f", "-"], &definition.to_string()).await?.worked().map(drop)
}
