use std::collections::BTreeMap;

use granary_planner::{
    observed::{Cluster, Disk, Domains, Node, Observed, Place, Process, Replica, Role, Seen, Shard},
    plan::{Degraded, DegradedReason, Waiting, WaitingReason},
};
use granary_proto::admin::IdentifyResponse;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::*;

fn desired() -> Desired {
    Desired {
        replicas: 3,
        replication_factor: 3,
        shards: 2,
        replace_after_ms: None,
        paused: false,
        draining: Vec::new(),
    }
}

fn shard(id: u32) -> Shard {
    let replica = |node| Replica { node, role: Role::Voter, caught_up: true };
    Shard {
        id,
        version: 1,
        leader: Some(1),
        fresh: true,
        replicas: (1..=3).map(replica).collect(),
        target: vec![1, 2, 3],
        bytes: 1000,
    }
}

/// Three nodes and two shards, all well.
fn whole() -> Sight {
    let node = |id: u64| Node {
        id,
        name: format!("node-{}", id - 1),
        draining: false,
        domains: Domains::default(),
        silent_for_ms: 0,
        heard: true,
        read_only: false,
        leaders_away: false,
        uuid: String::new(),
        damage: String::new(),
        trouble: String::new(),
    };
    let place = |id: u64| Place {
        index: id as u32 - 1,
        name: format!("node-{}", id - 1),
        process: Seen::Fresh(Process::Running),
        disk: Seen::Fresh(Disk::Member { cluster_id: "c".into(), node_id: id }),
        peer_address: None,
        kv_address: None,
        domains: Domains::default(),
        restart: None,
        cordoned: false,
    };
    let cluster = Cluster {
        cluster_id: "c".into(),
        map_version: 1,
        replication_factor: 3,
        shard_count: 2,
        nodes: (1..=3).map(node).collect(),
        shards: (0..=2).map(shard).collect(),
        stop_reserved: None,
    };
    let observed = Observed {
        cluster_id: Some("c".into()),
        founded: true,
        places: (1..=3).map(place).collect(),
        taken: Vec::new(),
        cluster: Seen::Fresh(cluster),
    };
    let ready = IdentifyResponse { ready: true, ..IdentifyResponse::default() };
    Sight { observed, founding: None, identities: BTreeMap::from([(0, ready.clone()), (1, ready.clone()), (2, ready)]) }
}

fn of(sight: &Sight, plan: &Plan, now_ms: i64, before: Option<&StorageClusterStatus>) -> StorageClusterStatus {
    with_problems(sight, plan, now_ms, before, &[])
}

fn with_problems(
    sight: &Sight,
    plan: &Plan,
    now_ms: i64,
    before: Option<&StorageClusterStatus>,
    problems: &[Problem],
) -> StorageClusterStatus {
    let facts = Facts {
        desired: &desired(),
        sight,
        plan,
        generation: 4,
        now_ms,
        bytes_per_second: Some(100),
        error: None,
        notes: &[],
        problems,
        kept: None,
        storage: &Storage::default(),
    };
    report(&facts, before)
}

fn condition<'a>(status: &'a StorageClusterStatus, type_: &str) -> &'a Condition {
    status.conditions.iter().find(|condition| condition.type_ == type_).unwrap()
}

#[test]
fn of_two_troubles_the_condition_names_the_one_to_look_at_whatever_order_they_were_found_in() {
    let said = |reason| Degraded { reason, message: format!("about {reason:?}") };
    let found = vec![said(DegradedReason::NodeSilent), said(DegradedReason::RestartStuck)];
    let status = of(&whole(), &Plan { degraded: found, ..Plan::default() }, 1_000, None);
    let degraded = condition(&status, "Degraded");
    assert_eq!((degraded.reason.as_str(), degraded.message.as_str()), ("RestartStuck", "about RestartStuck"));
    assert_eq!(status.waiting, ["NodeSilent: about NodeSilent", "RestartStuck: about RestartStuck"]);
}

#[test]
fn a_node_that_does_not_come_back_is_told_with_what_keeps_its_process_from_running() {
    let stuck = Degraded { reason: DegradedReason::RestartStuck, message: "node 3 does not come back".into() };
    let plan = Plan { degraded: vec![stuck], ..Plan::default() };
    let told = |reason| {
        let problem = Problem { reason, message: "words".into() };
        let status = with_problems(&whole(), &plan, 1_000, None, &[problem]);
        let degraded = condition(&status, "Degraded");
        (degraded.reason.clone(), degraded.message.clone())
    };
    let stuck = |message: &str| ("RestartStuck".to_owned(), message.to_owned());
    assert_eq!(told("ImagePull"), stuck("node 3 does not come back; ImagePull: words"));
    assert_eq!(told("VolumesUnguarded"), stuck("node 3 does not come back"));
}

#[test]
fn a_cluster_with_nothing_to_do_and_every_shard_whole_is_ready() {
    let status = of(&whole(), &Plan::default(), 1_000, None);
    assert_eq!(status.phase, Phase::Ready);
    assert_eq!((status.replicas, status.ready_nodes, status.shards, status.shards_with_leader), (3, 3, 2, 2));
    assert_eq!((status.migration.clone(), status.observed_generation), (None, Some(4)));
    for (type_, value) in [("Ready", "True"), ("Available", "True"), ("Progressing", "False"), ("Degraded", "False")] {
        assert_eq!(condition(&status, type_).status, value, "{type_}");
    }
}

#[test]
fn a_cluster_that_cannot_be_asked_is_unknown_and_never_ready() {
    let mut sight = whole();
    let Seen::Fresh(cluster) = sight.observed.cluster.clone() else { unreachable!() };
    sight.observed.cluster = Seen::Stale(cluster);
    let status = of(&sight, &Plan::default(), 1_000, None);
    assert_eq!(status.phase, Phase::Unknown);
    assert_eq!(condition(&status, "Ready").status, "Unknown");
    assert_eq!(condition(&status, "Available").status, "Unknown");
}

#[test]
fn a_shard_without_a_leader_is_not_available() {
    let mut sight = whole();
    let Seen::Fresh(cluster) = &mut sight.observed.cluster else { unreachable!() };
    cluster.shards[2].leader = None;
    let status = of(&sight, &Plan::default(), 1_000, None);
    assert_eq!((status.phase, status.shards_with_leader), (Phase::Progressing, 1));
    assert_eq!(condition(&status, "Available").status, "False");
}

#[test]
fn replicas_that_are_not_where_they_shall_be_are_counted_with_bytes_and_time() {
    let mut sight = whole();
    let Seen::Fresh(cluster) = &mut sight.observed.cluster else { unreachable!() };
    cluster.shards[1].target = vec![1, 2, 4];
    let status = of(&sight, &Plan::default(), 1_000, None);
    let migration = status.migration.unwrap();
    assert_eq!((migration.moves_left, migration.bytes_left, migration.seconds_left), (1, 1000, Some(10)));
    assert_eq!(status.phase, Phase::Progressing);
}

#[test]
fn what_needs_a_person_is_degraded_and_said_first() {
    let plan = Plan {
        waiting: vec![Waiting { reason: WaitingReason::Quorum, message: "shard 17 would keep 1 of 3".into() }],
        degraded: vec![Degraded { reason: DegradedReason::QuorumLost, message: "shard 9 has 1 of 3".into() }],
        ..Plan::default()
    };
    let status = of(&whole(), &plan, 1_000, None);
    assert_eq!(status.phase, Phase::Degraded);
    assert_eq!(status.waiting, ["QuorumLost: shard 9 has 1 of 3", "Quorum: shard 17 would keep 1 of 3"]);
    assert_eq!(status.waiting_reason.as_deref(), Some("Quorum"));
    assert_eq!(condition(&status, "Degraded").reason, "QuorumLost");
}

#[test]
fn a_condition_keeps_its_time_until_its_value_changes() {
    let first = of(&whole(), &Plan::default(), 1_000, None);
    let second = of(&whole(), &Plan::default(), 9_000, Some(&first));
    let time = |status: &StorageClusterStatus, type_| condition(status, type_).last_transition_time.0.as_millisecond();
    assert_eq!(time(&second, "Ready"), 1_000);
    let mut sight = whole();
    sight.identities.clear();
    let third = of(&sight, &Plan::default(), 20_000, Some(&second));
    assert_eq!((time(&third, "Ready"), time(&third, "Available")), (20_000, 1_000));
}

#[test]
fn the_rate_is_what_was_copied_in_the_last_seconds_and_a_new_move_does_not_make_it_negative() {
    let mut rate = migration::Rate::default();
    rate.sample(0, 1_000);
    assert_eq!(rate.bytes_per_second(), None);
    rate.sample(1_000, 800);
    assert_eq!(rate.bytes_per_second(), Some(200));
    rate.sample(2_000, 5_000);
    assert_eq!(rate.bytes_per_second(), Some(100));
    rate.sample(3_000, 0);
    assert_eq!(rate.bytes_per_second(), None);
}

#[test]
fn a_node_of_another_cluster_is_neither_asked_nor_counted_as_ready() {
    let mut sight = whole();
    sight.observed.places[1].disk = Seen::Fresh(Disk::Member { cluster_id: "other".into(), node_id: 2 });
    for place in &mut sight.observed.places {
        place.peer_address = Some(place.name.clone());
    }
    assert_eq!(sight.members(), ["node-0", "node-2"]);
    assert_eq!(of(&sight, &Plan::default(), 1_000, None).ready_nodes, 2);
}

#[test]
fn members_are_listed_with_what_they_hold_and_places_that_are_none_yet_after_them() {
    let mut sight = whole();
    sight.observed.places[0].domains = Domains { zone: "a".into(), machine: "m".into() };
    let mut blank = sight.observed.places[0].clone();
    (blank.index, blank.name, blank.disk) = (3, "node-3".into(), Seen::Fresh(Disk::Blank { uuid: None }));
    sight.observed.places.push(blank);
    let nodes = of(&sight, &Plan::default(), 1_000, None).nodes;
    let names: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), node.state.as_str())).collect();
    assert_eq!(names, [("node-0", "Active"), ("node-1", "Active"), ("node-2", "Active"), ("node-3", "Joining")]);
    let first = &nodes[0];
    assert_eq!((first.node_id, first.replicas, first.leaders), (Some(1), Some(2), Some(2)));
    assert_eq!((first.zone.as_deref(), first.kubernetes_node.as_deref()), (Some("a"), Some("m")));
    assert_eq!((nodes[3].node_id, nodes[3].ready), (None, false));
}

#[test]
fn a_cluster_that_is_being_founded_is_known_to_be_neither_ready_nor_available() {
    let mut sight = whole();
    (sight.observed.founded, sight.observed.cluster) = (false, Seen::Unknown("nobody".into()));
    let status = of(&sight, &Plan::default(), 1_000, None);
    assert_eq!(status.phase, Phase::Founding);
    for type_ in ["Ready", "Available", "Degraded"] {
        assert_eq!(condition(&status, type_).status, "False", "{type_}");
    }
}

#[test]
fn kept_claims_are_counted_with_the_command_that_removes_them() {
    let kept = Kept { count: 2, command: "kubectl delete pvc a b".into() };
    let (desired, sight, plan) = (desired(), whole(), Plan::default());
    let facts = Facts {
        desired: &desired,
        sight: &sight,
        plan: &plan,
        generation: 4,
        now_ms: 1_000,
        bytes_per_second: None,
        error: None,
        notes: &[],
        problems: &[],
        kept: Some(&kept),
        storage: &Storage::default(),
    };
    let status = report(&facts, None);
    assert_eq!((status.claims_kept, status.claims_kept_command.as_deref()), (2, Some("kubectl delete pvc a b")));
}

/// The status while disks are too small, and its condition StorageResizing.
fn resizing(problems: &[Problem], paused: bool) -> (StorageClusterStatus, Option<Condition>) {
    let storage = Storage { smallest: Some("10Gi".into()), behind: Some("0 of 3 volumes have 20Gi".into()) };
    let (desired, sight, plan) = (Desired { paused, ..desired() }, whole(), Plan::default());
    let facts = Facts {
        desired: &desired,
        sight: &sight,
        plan: &plan,
        generation: 4,
        now_ms: 1_000,
        bytes_per_second: None,
        error: None,
        notes: &[],
        problems,
        kept: None,
        storage: &storage,
    };
    let status = report(&facts, None);
    let found = status.conditions.iter().find(|condition| condition.type_ == "StorageResizing").cloned();
    (status, found)
}

#[test]
fn disks_that_grow_are_told_and_what_stands_in_their_way() {
    let said = |problems: &[Problem], paused| {
        let said = resizing(problems, paused).1.unwrap();
        (said.status, said.reason, said.message)
    };
    let text = |status: &str, reason: &str, message: &str| (status.into(), reason.into(), message.into());
    assert_eq!(said(&[], false), text("True", "Growing", "0 of 3 volumes have 20Gi"));
    assert_eq!(said(&[], true).1, "Paused");
    let problem = Problem { reason: "NoExpansion", message: "the class does not allow it".into() };
    let expected = text("False", "NoExpansion", "0 of 3 volumes have 20Gi; the class does not allow it");
    assert_eq!(said(&[problem], false), expected);
    assert_eq!(resizing(&[], false).0.storage_size.as_deref(), Some("10Gi"));
    let settled = of(&whole(), &Plan::default(), 1_000, None);
    assert!(settled.conditions.iter().all(|condition| condition.type_ != "StorageResizing"));
}

#[test]
fn a_warning_of_what_may_come_is_told_and_keeps_nothing_from_being_ready() {
    let guarded = |reason| resizing(&[Problem { reason, message: "words".into() }], false).0;
    let status = guarded("VolumesUnguarded");
    assert_eq!((condition(&status, "Ready").status.as_str(), status.phase), ("True", Phase::Degraded));
    assert_eq!(condition(&guarded("ImagePull"), "Ready").status, "False");
}

#[test]
fn after_a_round_that_saw_nothing_what_was_known_stays_and_is_not_believed() {
    let before = of(&whole(), &Plan::default(), 1_000, None);
    let status = conditions::blind(Some(&before), "RoundFailed", "the API server does not answer", 4, 9_000);
    assert_eq!((status.phase, status.replicas), (Phase::Unknown, 3));
    assert_eq!(condition(&status, "Ready").status, "Unknown");
    assert_eq!(condition(&status, "Degraded").status, "True");
    assert_eq!(status.waiting, ["RoundFailed: the API server does not answer"]);
}

#[test]
fn the_cause_is_told_before_what_follows_from_it_and_before_what_may_come() {
    let problem = |reason| Problem { reason, message: String::new() };
    let mut problems = ["Unschedulable", "VolumesUnguarded", "NoStorageClass", "ImagePull"].map(problem);
    causes_first(&mut problems);
    let order: Vec<_> = problems.iter().map(|problem| problem.reason).collect();
    assert_eq!(order, ["NoStorageClass", "ImagePull", "Unschedulable", "VolumesUnguarded"]);
}
