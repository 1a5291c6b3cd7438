use std::time::Duration;

use granary_proto::{map::NodeState, raft::ReportRequest};

use super::*;
use crate::testing::{group, held, led, map, replica, report};

/// A view in which these reports came at `now`.
fn heard(now: Instant, reports: Vec<ReportRequest>) -> View {
    let mut view = View::default();
    view.tick(Some(3), now);
    for report in reports {
        assert!(view.record(report, now));
    }
    view
}

/// The same, after the leader has listened for [`SILENT`].
fn heard_after_long(start: Instant, reports: Vec<ReportRequest>) -> (View, Instant) {
    let mut view = View::default();
    let mut now = start;
    for _ in 0..=10 {
        view.tick(Some(3), now);
        now += Duration::from_secs(1);
    }
    for report in reports {
        assert!(view.record(report, now));
    }
    (view, now)
}

const NODE: NodeId = NodeId(3);

#[test]
fn a_node_may_stop_when_every_shard_keeps_a_quorum_of_healthy_voters() {
    let now = Instant::now();
    let map = map(3, &[&[1, 2, 3], &[1, 2, 3]]);
    let said = vec![led(0, 2, group(0, 1, &[1, 2, 3]), &[]), led(1, 2, group(1, 1, &[1, 2, 3]), &[])];
    assert_eq!(can_stop(&map, &heard(now, vec![report(1, 1, said)]), NODE, now), Vec::<String>::new());
}

#[test]
fn a_node_may_not_stop_when_another_voter_is_behind() {
    let now = Instant::now();
    let map = map(3, &[&[1, 2, 3], &[1, 2, 3]]);
    let said = vec![led(0, 2, group(0, 1, &[1, 2, 3]), &[]), led(1, 2, group(1, 1, &[1, 2, 3]), &[2])];
    let reasons = can_stop(&map, &heard(now, vec![report(1, 1, said)]), NODE, now);
    assert_eq!(reasons, ["shard 1 would keep 1 of 3 voters"]);
}

#[test]
fn a_node_that_is_down_already_may_stop_when_the_others_are_a_quorum() {
    let now = Instant::now();
    let map = map(3, &[&[1, 2, 3]]);
    let view = heard(now, vec![report(1, 1, vec![led(0, 2, group(0, 1, &[1, 2, 3]), &[3])])]);
    assert!(can_stop(&map, &view, NODE, now).is_empty());
}

#[test]
fn the_only_voter_of_a_shard_may_not_stop() {
    let now = Instant::now();
    let map = map(3, &[&[3]]);
    let view = heard(now, vec![report(3, 1, vec![led(0, 2, group(0, 1, &[3]), &[])])]);
    assert_eq!(can_stop(&map, &view, NODE, now), ["shard 0 would keep 0 of 1 voters"]);
}

#[test]
fn unknown_refuses_to_stop_even_where_the_map_shows_no_voter() {
    let now = Instant::now();
    let map = map(4, &[&[1, 2, 4]]);
    let reasons = can_stop(&map, &heard(now, vec![]), NODE, now);
    assert_eq!(reasons, ["shard 0 is unknown: no leader has reported it within 2 s"]);
}

#[test]
fn a_shard_whose_leader_spoke_too_long_ago_is_unknown() {
    let now = Instant::now();
    let map = map(3, &[&[1, 2, 3]]);
    let view = heard(now, vec![report(1, 1, vec![led(0, 2, group(0, 1, &[1, 2, 3]), &[])])]);
    assert!(can_stop(&map, &view, NODE, now + FRESH)[0].contains("unknown"));
}

#[test]
fn the_groups_own_word_counts_and_not_the_map() {
    let now = Instant::now();
    let map = map(4, &[&[1, 2, 3]]);
    let said = led(0, 2, group(0, 5, &[1, 2, 4]), &[2]);
    assert!(can_stop(&map, &heard(now, vec![report(1, 1, vec![said])]), NODE, now).is_empty());
}

#[test]
fn a_learner_may_stop() {
    let now = Instant::now();
    let map = map(4, &[&[1, 2, 4]]);
    let mut with_learner = group(0, 2, &[1, 2, 4]);
    with_learner.replicas.push(replica(0, 3, ReplicaRole::Learner));
    let view = heard(now, vec![report(1, 1, vec![led(0, 2, with_learner, &[2, 4])])]);
    assert!(can_stop(&map, &view, NODE, now).is_empty());
}

/// Node 4 replaces node 3: within the joint change.
fn joint() -> Group {
    let mut joint = group(0, 3, &[1, 2, 4]);
    joint.replicas.push(replica(0, 3, ReplicaRole::Outgoing));
    joint.joint = true;
    joint
}

#[test]
fn within_a_joint_change_both_halves_must_keep_a_quorum() {
    let now = Instant::now();
    let map = map(4, &[&[1, 2, 4]]);
    let all_well = heard(now, vec![report(1, 1, vec![led(0, 2, joint(), &[])])]);
    for node in [2, 3, 4] {
        assert_eq!(can_stop(&map, &all_well, NodeId(node), now), Vec::<String>::new(), "node {node}");
    }
    // The new half {1, 2, 4} would keep 1 and 4, but the old one {1, 2, 3} only 1.
    let old_is_gone = heard(now, vec![report(1, 1, vec![led(0, 2, joint(), &[3])])]);
    let reasons = can_stop(&map, &old_is_gone, NodeId(2), now);
    assert_eq!(reasons, ["shard 0 is within a change of voters, and would keep 1 of the 3 voters it had before it"]);
    let new_is_behind = heard(now, vec![report(1, 1, vec![led(0, 2, joint(), &[4])])]);
    assert_eq!(can_stop(&map, &new_is_behind, NodeId(2), now), ["shard 0 would keep 1 of 3 voters"]);
}

#[test]
fn reasons_are_capped_and_the_rest_is_counted() {
    let voters: &[u64] = &[1, 2, 3];
    let reasons = can_stop(&map(3, &[voters; 40]), &View::default(), NODE, Instant::now());
    assert_eq!(reasons.len(), MAX_REASONS);
    assert_eq!(reasons[15], "and 25 more");
}

#[test]
fn a_node_that_no_shard_needs_may_be_removed() {
    let now = Instant::now();
    let map = map(4, &[&[1, 2, 4]]);
    let said = vec![report(1, 1, vec![led(0, 2, group(0, 1, &[1, 2, 4]), &[])]), report(3, 1, vec![])];
    assert_eq!(can_remove(&map, &heard(now, said), NODE, now), Vec::<String>::new());
}

#[test]
fn unknown_refuses_to_remove() {
    let now = Instant::now();
    let map = map(4, &[&[1, 2, 4]]);
    let reasons = can_remove(&map, &heard(now, vec![report(3, 1, vec![])]), NODE, now);
    assert_eq!(reasons, ["shard 0 is unknown: no leader has reported it within 2 s"]);
}

#[test]
fn a_node_is_not_removed_while_a_target_a_group_or_the_node_itself_names_a_replica() {
    let now = Instant::now();
    let by_target = map(4, &[&[1, 2, 3]]);
    let elsewhere = || report(1, 1, vec![led(0, 2, group(0, 2, &[1, 2, 4]), &[])]);
    let quiet = || report(3, 1, vec![]);
    assert_eq!(
        can_remove(&by_target, &heard(now, vec![elsewhere(), quiet()]), NODE, now),
        ["the target of shard 0 names node 3"]
    );
    let moved = map(4, &[&[1, 2, 4]]);
    let by_group = report(1, 1, vec![led(0, 2, joint(), &[])]);
    assert_eq!(
        can_remove(&moved, &heard(now, vec![by_group, quiet()]), NODE, now),
        ["the group of shard 0 has a replica on node 3"]
    );
    let holding = ReportRequest { held: vec![held(0, 3)], ..quiet() };
    assert_eq!(
        can_remove(&moved, &heard(now, vec![elsewhere(), holding]), NODE, now),
        ["node 3 still holds replica 3 of shard 0"]
    );
}

#[test]
fn a_new_leader_does_not_take_a_node_for_silent_that_it_did_not_listen_for() {
    let now = Instant::now();
    let map = map(4, &[&[1, 2, 4]]);
    let said = report(1, 1, vec![led(0, 2, group(0, 1, &[1, 2, 4]), &[])]);
    assert!(can_remove(&map, &heard(now, vec![said]), NODE, now)[0].contains("is unknown"));
}

#[test]
fn a_silent_node_may_be_removed_once_no_group_has_it() {
    let map = map(4, &[&[1, 2, 4]]);
    let said = report(1, 1, vec![led(0, 2, group(0, 1, &[1, 2, 4]), &[])]);
    let (view, now) = heard_after_long(Instant::now(), vec![said]);
    assert_eq!(can_remove(&map, &view, NODE, now), Vec::<String>::new());
}

#[test]
fn a_drain_counts_what_is_left_and_ends_by_the_groups_own_word() {
    let now = Instant::now();
    let mut map = map(4, &[&[1, 2, 4], &[1, 2, 3], &[1, 2, 4]]);
    map.nodes[2].set_state(NodeState::Draining);
    let mine = report(3, 1, vec![led(1, 2, group(1, 1, &[1, 2, 3]), &[])]);
    let others = report(1, 1, vec![led(0, 2, group(0, 1, &[1, 2, 4]), &[]), led(2, 2, group(2, 1, &[1, 2, 4]), &[])]);
    let progress = drain_progress(&map, &heard(now, vec![mine, others.clone()]), NODE, now);
    assert_eq!((progress.replicas_left, progress.leaders_left, progress.bytes_left), (1, 1, 1000));
    assert!(progress.draining && !progress.drained);

    map.shards[1].target = map.shards[0].target.clone();
    let moved = report(2, 1, vec![led(1, 3, group(1, 3, &[1, 2, 4]), &[])]);
    let progress = drain_progress(&map, &heard(now, vec![moved, others.clone()]), NODE, now);
    assert!(progress.drained, "{progress:?}");
    let unknown = drain_progress(&map, &heard(now, vec![others]), NODE, now);
    assert!(!unknown.drained, "a shard without a fresh leader is not known to be gone");
}
