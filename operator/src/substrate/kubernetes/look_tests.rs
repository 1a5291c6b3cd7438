use serde_json::{Value, json};

use super::*;
use crate::substrate::kubernetes::names::{LABEL_CLUSTER, TEMPLATE_HASH};

fn object<K: serde::de::DeserializeOwned>(value: Value) -> Arc<K> {
    Arc::new(serde_json::from_value(value).unwrap())
}

fn claim(index: u32, annotations: Value) -> Arc<PersistentVolumeClaim> {
    let labels = json!({LABEL_CLUSTER: "demo", LABEL_NODE: names::place(index)});
    let metadata = json!({"name": names::object("demo", index), "uid": format!("claim-{index}"), "labels": labels, "annotations": annotations});
    object(json!({"metadata": metadata, "status": {"phase": "Bound"}}))
}

fn set() -> Arc<StatefulSet> {
    let metadata = json!({"generation": 2, "annotations": {TEMPLATE_HASH: "h", RESTART_REASON: "image: granary:2"}});
    let status = json!({"observedGeneration": 2, "updateRevision": "r2", "replicas": 1});
    object(json!({"metadata": metadata, "status": status}))
}

fn pod(index: u32, revision: &str, running: bool) -> Arc<Pod> {
    let state = if running { json!({"running": {}}) } else { json!({"waiting": {"reason": "ContainerCreating"}}) };
    let container =
        json!({"name": "node", "image": "i", "imageID": "", "ready": running, "restartCount": 0, "state": state});
    let metadata = json!({"name": names::pod("demo", index), "labels": {"controller-revision-hash": revision}});
    let status = json!({"podIP": format!("10.0.0.{index}"), "containerStatuses": [container]});
    object(json!({"metadata": metadata, "spec": {"nodeName": "kube-a", "containers": []}, "status": status}))
}

/// Two places of one cluster, both running the newest revision.
fn objects() -> Objects {
    let node = json!({"metadata": {"name": "kube-a", "labels": {ZONE: "zone-1"}}, "spec": {"unschedulable": true}});
    let ours = |index: u32| claim(index, json!({CLUSTER_ID: "c", NODE_ID: (index + 1).to_string()}));
    Objects {
        namespace: "ns".into(),
        identity: Identity { cluster_id: Some("c".into()), founded: true, founding: None },
        draining: Vec::new(),
        sets: (0..2).map(|index| (index, set())).collect(),
        pods: (0..2).map(|index| (index, pod(index, "r2", true))).collect(),
        claims: (0..2).map(|index| (index, ours(index))).collect(),
        nodes: Some(BTreeMap::from([("kube-a".to_owned(), object(node))])),
        lost_claims: BTreeSet::new(),
        lost_volumes: BTreeSet::new(),
        size: "10Gi".into(),
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
    }
}

#[test]
fn a_place_runs_where_its_pod_is_and_holds_what_its_claim_says() {
    let look = objects().look();
    assert_eq!((look.taken.len(), look.problems.len(), look.kept.is_none()), (0, 0, true));
    assert_eq!(
        look.places[1],
        Place {
            index: 1,
            name: "node-1".into(),
            process: Seen::Fresh(Process::Running),
            disk: Seen::Stale(Disk::Member { cluster_id: "c".into(), node_id: 2 }),
            peer_address: Some("10.0.0.1:7002".into()),
            kv_address: Some("10.0.0.1:7001".into()),
            domains: Domains { zone: "zone-1".into(), machine: "kube-a".into() },
            restart: None,
            cordoned: true,
        }
    );
}

#[test]
fn a_pod_of_an_older_revision_shall_be_made_anew_for_the_reason_its_set_gives() {
    let mut objects = objects();
    objects.pods.insert(0, pod(0, "r1", true));
    let restart = |objects: &Objects| objects.look().places[0].restart.clone();
    assert_eq!(restart(&objects), Some("image: granary:2".into()));
    let leaving = |running| {
        let mut pod = pod(0, "r1", running).as_ref().clone();
        pod.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        Arc::new(pod)
    };
    objects.pods.insert(0, leaving(false));
    assert_eq!(restart(&objects), None, "its process has ended");
    objects.pods.insert(0, leaving(true));
    assert_eq!(restart(&objects), Some("image: granary:2".into()), "on its way out it still is the old one");
    let mut set = set().as_ref().clone();
    set.metadata.generation = Some(3);
    objects.sets.insert(0, Arc::new(set));
    assert_eq!(restart(&objects), None, "the set's revision is not known yet");
}

#[test]
fn a_claim_that_is_not_there_by_name_is_a_disk_that_is_gone_and_its_place_may_be_made_anew() {
    let mut objects = objects();
    objects.claims.remove(&1);
    objects.pods.insert(1, pod(1, "r2", false));
    assert_eq!(objects.look().places[1].disk, Seen::Unknown("its claim was not seen yet".into()), "not read by name");
    objects.lost_claims.insert(1);
    let place = objects.look().places.remove(1);
    assert_eq!((place.disk, place.process), (Seen::Fresh(Disk::Gone), Seen::Fresh(Process::Stopped)));
    assert!(objects.look().taken.is_empty());
}

#[test]
fn a_node_that_still_runs_is_asked_whatever_became_of_its_claim() {
    let mut objects = objects();
    objects.claims.remove(&1);
    objects.lost_claims.insert(1);
    let place = objects.look().places.remove(1);
    assert!(matches!(place.disk, Seen::Unknown(_)), "{:?}", place.disk);
    assert_eq!(place.process, Seen::Fresh(Process::Running));
}

#[test]
fn a_volume_that_no_machine_can_use_is_gone_and_its_name_stays_taken() {
    let mut objects = objects();
    objects.lost_volumes.insert(1);
    objects.pods.remove(&1);
    let look = objects.look();
    assert_eq!((look.places[1].disk.clone(), look.taken), (Seen::Fresh(Disk::Gone), vec![1]));
}

#[test]
fn a_claim_that_was_given_up_is_no_place_and_is_counted_with_what_removes_it() {
    let mut objects = objects();
    objects.claims.insert(1, claim(1, json!({CLUSTER_ID: "c", NODE_ID: "2", REMOVED: "2026-01-01T00:00:00Z"})));
    let look = objects.look();
    assert_eq!((look.places.len(), look.taken), (1, vec![1]));
    assert_eq!(look.kept, Some(Kept { count: 1, command: "kubectl -n ns delete pvc demo-node-1".into() }));
}

#[test]
fn a_claim_of_another_cluster_is_left_alone_and_told() {
    let mut objects = objects();
    objects.sets.remove(&1);
    objects.claims.insert(1, claim(1, json!({CLUSTER_ID: "other"})));
    let look = objects.look();
    assert_eq!((look.places.len(), look.taken, look.kept), (1, vec![1], None));
    assert_eq!(look.problems[0].reason, "ForeignClaim");
}

#[test]
fn a_place_without_a_set_is_stopped_and_without_a_volume_blank() {
    let mut objects = objects();
    objects.sets.remove(&1);
    objects.pods.remove(&1);
    let mut pending = claim(1, json!({CLUSTER_ID: "c"})).as_ref().clone();
    pending.status = serde_json::from_value(json!({"phase": "Pending"})).unwrap();
    objects.claims.insert(1, Arc::new(pending));
    let place = objects.look().places.remove(1);
    assert_eq!((place.process, place.disk), (Seen::Fresh(Process::Stopped), Seen::Fresh(Disk::Blank { uuid: None })));
}

#[test]
fn without_the_right_to_read_kubernetes_nodes_it_is_said_what_is_lost() {
    let objects = Objects { nodes: None, ..objects() };
    let look = objects.look();
    assert_eq!(look.places[0].domains, Domains { zone: String::new(), machine: "kube-a".into() });
    assert!(look.notes[0].contains("may not read Kubernetes nodes"), "{:?}", look.notes);
}
