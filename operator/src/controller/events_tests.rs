use std::collections::BTreeMap;

use granary_planner::observed::{Cluster, Disk, Domains, Observed, Process, Seen};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::*;

fn moment(places: &[u32], nodes: &[(u64, bool)], steps: Vec<Step>) -> Moment {
    let place = |index: &u32| Place {
        index: *index,
        name: format!("node-{index}"),
        process: Seen::Fresh(Process::Running),
        disk: Seen::Fresh(Disk::Blank { uuid: None }),
        peer_address: None,
        kv_address: None,
        domains: Domains::default(),
        restart: None,
        cordoned: false,
    };
    let node = |(id, draining): &(u64, bool)| Node {
        id: *id,
        name: format!("node-{}", id - 1),
        draining: *draining,
        domains: Domains::default(),
        silent_for_ms: 0,
        heard: true,
        read_only: false,
        leaders_away: false,
        uuid: String::new(),
        damage: String::new(),
        trouble: String::new(),
    };
    let cluster = Cluster {
        cluster_id: "c".into(),
        map_version: 1,
        replication_factor: 3,
        shard_count: 2,
        nodes: nodes.iter().map(node).collect(),
        shards: Vec::new(),
        stop_reserved: None,
    };
    let observed = Observed {
        cluster_id: Some("c".into()),
        founded: true,
        places: places.iter().map(place).collect(),
        taken: Vec::new(),
        cluster: Seen::Fresh(cluster),
    };
    let reason = "node 2 is lost: its disk is gone".to_owned();
    let planned = |step: Step| PlannedStep { step, reason: reason.clone(), reversible: true };
    let plan = Plan { steps: steps.into_iter().map(planned).collect(), ..Plan::default() };
    Moment::new(Sight { observed, founding: None, identities: BTreeMap::new() }, plan, true)
}

fn reasons(before: &Moment, now: &Moment) -> Vec<Reason> {
    between(before, now).into_iter().map(|news| news.reason).collect()
}

#[test]
fn each_change_is_told_once_and_a_round_like_the_one_before_tells_nothing() {
    let before = moment(&[0, 1], &[(1, false), (2, true)], vec![]);
    let now = moment(&[0, 2], &[(1, true), (3, false)], vec![]);
    let all =
        [Reason::NodeStarted, Reason::PlaceRetired, Reason::DrainStarted, Reason::NodeJoined, Reason::NodeRemoved];
    assert_eq!(reasons(&before, &now), all);
    assert_eq!(reasons(&now, &now), []);
}

#[test]
fn a_step_that_is_repeated_every_round_is_one_event() {
    let idle = moment(&[0], &[(1, false)], vec![]);
    let restarts = moment(&[0], &[(1, false)], vec![Step::RestartPlace { index: 0 }]);
    assert_eq!(reasons(&idle, &restarts), [Reason::Restarting]);
    assert_eq!(reasons(&restarts, &restarts), []);
    let replaces = moment(&[0], &[(1, false)], vec![Step::StartNode { index: 7 }]);
    assert_eq!(reasons(&idle, &replaces), [Reason::NodeLost]);
    assert_eq!(reasons(&replaces, &replaces), []);
}

#[test]
fn nodes_of_a_cluster_that_could_not_be_asked_before_are_no_news() {
    let mut before = moment(&[0], &[(1, false)], vec![]);
    before.sight.observed.cluster = Seen::Unknown("nobody answers".into());
    assert_eq!(reasons(&before, &moment(&[0], &[(1, false)], vec![])), []);
}

fn degraded(value: &str, reason: &str) -> StorageClusterStatus {
    let condition = Condition {
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        message: "m".into(),
        observed_generation: None,
        reason: reason.into(),
        status: value.into(),
        type_: "Degraded".into(),
    };
    StorageClusterStatus { conditions: vec![condition], ..StorageClusterStatus::default() }
}

#[test]
fn trouble_is_told_when_it_begins_when_it_becomes_another_and_when_it_ends() {
    let told = |before: Option<&StorageClusterStatus>, now: &StorageClusterStatus| {
        of_degraded(before, now).map(|news| news.reason)
    };
    let (well, silent) = (degraded("False", "AllWell"), degraded("True", "NodeSilent"));
    let (stuck, unknown) = (degraded("True", "RestartStuck"), degraded("Unknown", "NodesUnreachable"));
    assert_eq!(told(None, &well), None);
    assert_eq!(told(Some(&well), &silent), Some(Reason::Degraded));
    assert_eq!(told(Some(&silent), &silent), None, "also by a process that was started anew");
    assert_eq!(told(Some(&silent), &stuck), Some(Reason::RestartStuck));
    assert_eq!(told(Some(&stuck), &well), Some(Reason::Recovered));
    assert_eq!(told(Some(&well), &unknown), None);
}
