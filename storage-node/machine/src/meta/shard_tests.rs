use std::collections::BTreeSet;

use granary_proto::{
    admin::{CreateShardsRequest, Placement},
    map::{Group, ReplicaRole::*, SlotRange},
    storage::meta_command::Operation,
};

use super::fixture::*;
use crate::errors::code;

/// Replica ids of shard 1 on the nodes 1, 2 and 3 after its creation: the meta shard has 1 to 3.
const FIRST: [(u64, u64); 3] = [(1, 4), (2, 5), (3, 6)];

#[test]
fn all_shards_are_created_at_once_with_ids_of_their_own_and_cover_all_slots() {
    let mut cluster = Cluster::new();
    let version = cluster.map().version;
    assert_eq!(cluster.create(&[1, 2, 3]), Ok(version + 1));
    assert_eq!(cluster.target(1), FIRST);
    assert_eq!(cluster.shard(4).range, Some(SlotRange { start: 12288, end: 16384 }));
    let ids: BTreeSet<u64> = (0..=4).flat_map(|shard| cluster.target(shard)).map(|(_, id)| id).collect();
    assert_eq!(ids, (1..=15).collect());
    assert_eq!(cluster.state.next_replica_id, 16);
    let group = cluster.shard(1).group.clone().unwrap();
    assert_eq!((group.version, group.replicas), (1, cluster.shard(1).target.clone().unwrap().replicas));
}

#[test]
fn shards_are_created_once_and_the_same_ones_again_are_a_no_op() {
    let mut cluster = Cluster::with_shards(4);
    let before = cluster.state.clone();
    assert_eq!(cluster.create(&[1, 2, 3]), Ok(cluster.map().version));
    assert_eq!(cluster.create(&[1, 2, 4]).unwrap_err().code, code::ALREADY_EXISTS);
    assert_eq!(cluster.state, before);
}

#[test]
fn shards_are_not_created_in_part_or_on_nodes_that_cannot_take_them() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.create(&[1, 2]).unwrap_err().code, code::INVALID_ARGUMENT);
    assert_eq!(cluster.create(&[1, 2, 2]).unwrap_err().code, code::INVALID_ARGUMENT);
    assert_eq!(cluster.create(&[1, 2, 9]).unwrap_err().code, code::NOT_FOUND);
    let placement = |shard_id| Placement { shard_id, node_ids: vec![1, 2, 3] };
    for ids in [vec![1, 2, 3], vec![1, 2, 3, 3], vec![1, 2, 3, 5]] {
        let shards = ids.into_iter().map(placement).collect();
        let request = CreateShardsRequest { operator_token: cluster.token, shards };
        assert_eq!(cluster.run(Operation::CreateShards(request)).unwrap_err().code, code::INVALID_ARGUMENT);
    }
    cluster.join(&uuid(4), "node-4").unwrap();
    cluster.drain(3).unwrap();
    let refused = cluster.create(&[1, 2, 3]).unwrap_err();
    assert!(refused.message.contains("node 3 is draining"), "{}", refused.message);
    assert_eq!((cluster.map().shards.len(), cluster.state.next_replica_id), (1, 4));
}

#[test]
fn a_new_target_keeps_the_ids_of_nodes_that_hold_the_shard_and_gives_new_ones_to_others() {
    let mut cluster = Cluster::with_shards(5);
    let version = cluster.map().version;
    cluster.move_shard(1, &[4, 2, 3], 1).unwrap();
    assert_eq!(cluster.target(1), [(4, 16), (2, 5), (3, 6)]);
    assert_eq!(cluster.shard(1).target.as_ref().unwrap().number, 2);
    // Taken back before the group moved: node 1 still holds replica 4, and node 4 will get another id next time.
    cluster.move_shard(1, &[1, 2, 3], 1).unwrap();
    assert_eq!(cluster.target(1), FIRST);
    cluster.move_shard(1, &[4, 2, 3], 1).unwrap();
    assert_eq!(cluster.target(1)[0], (4, 17));
    assert_eq!(cluster.map().version, version + 3);
}

#[test]
fn a_target_that_is_the_same_is_a_no_op_and_a_new_preferred_leader_is_not() {
    let mut cluster = Cluster::with_shards(3);
    let version = cluster.map().version;
    cluster.move_shard(1, &[1, 2, 3], 1).unwrap();
    assert_eq!(cluster.map().version, version);
    cluster.move_shard(1, &[3, 1, 2], 1).unwrap();
    assert_eq!(cluster.target(1), [(3, 6), (1, 4), (2, 5)]);
    assert_eq!(cluster.map().version, version + 1);
}

#[test]
fn each_item_of_a_reconfiguration_stands_alone() {
    let mut cluster = Cluster::with_shards(4);
    cluster.drain(4).unwrap();
    cluster.join(&uuid(5), "node-5").unwrap();
    let version = cluster.map().version;
    let outcomes = cluster.reconfigure(&[
        (1, &[1, 2, 5], 1),
        (2, &[1, 2, 5], 7),
        (3, &[1, 2, 4], 1),
        (4, &[1, 2], 1),
        (9, &[1, 2, 3], 1),
        (4, &[1, 2, 8], 1),
        (0, &[1, 2, 5], 1),
    ]);
    let accepted: Vec<bool> = outcomes.iter().map(|outcome| outcome.accepted).collect();
    assert_eq!(accepted, vec![true, false, false, false, false, false, true]);
    for (outcome, part) in outcomes[1..6].iter().zip([
        "expected_version is 7, but the group of shard 2 is at version 1",
        "node 4 is draining",
        "3 distinct nodes",
        "shard_id 9 is not a shard; 0 to 4 are",
        "has 8, which is not a node",
    ]) {
        assert!(outcome.message.contains(part), "{part:?} is not in {:?}", outcome.message);
    }
    assert_eq!(cluster.map().version, version + 1, "one change of the map for one request");
}

#[test]
fn a_draining_node_may_stay_in_a_target_that_it_is_in() {
    let mut cluster = Cluster::with_shards(5);
    cluster.drain(3).unwrap();
    cluster.move_shard(1, &[4, 2, 3], 1).unwrap();
    cluster.move_shard(1, &[4, 5, 3], 1).unwrap();
}

#[test]
fn a_node_that_is_reserved_to_be_stopped_gets_no_new_voters() {
    let mut cluster = Cluster::with_shards(5);
    cluster.reserve(4).unwrap();
    let refused = cluster.move_shard(1, &[1, 2, 4], 1).unwrap_err();
    assert!(refused.contains("node 4 is reserved to be stopped, for 60 s more"), "{refused}");
    cluster.move_shard(1, &[1, 2, 5], 1).unwrap();
    cluster.now += 60_000;
    cluster.move_shard(2, &[1, 2, 4], 1).unwrap();
}

#[test]
fn the_id_of_a_replica_on_its_way_out_is_not_given_to_its_node_again() {
    let mut cluster = Cluster::with_shards(4);
    cluster.move_shard(1, &[1, 2, 4], 1).unwrap();
    cluster.report(1, 3, &[(1, 4, Voter), (2, 5, Voter), (4, 16, Voter), (3, 6, Outgoing)]);
    cluster.move_shard(1, &[1, 2, 3], 3).unwrap();
    assert_eq!(cluster.target(1), [(1, 4), (2, 5), (3, 17)]);
}

#[test]
fn a_target_with_an_id_that_the_group_had_put_out_unheard_gets_a_new_id() {
    let mut cluster = Cluster::with_shards(4);
    cluster.move_shard(1, &[1, 2, 4], 1).unwrap();
    // The group has moved, but its report is late: the target is taken back on what the map knows.
    cluster.move_shard(1, &[1, 2, 3], 1).unwrap();
    assert_eq!(cluster.target(1), FIRST);
    cluster.report(1, 4, &[(1, 4, Voter), (2, 5, Voter), (4, 16, Voter)]);
    assert_eq!(cluster.target(1), [(1, 4), (2, 5), (3, 17)]);
    assert_eq!(cluster.shard(1).target.as_ref().unwrap().number, 4);
}

/// The store's simulation, seed 5: a leader with an older map could add an id again that was out, and the map had given its node
/// another one by then, so that the two stood in each other's way for good.
#[test]
fn a_target_with_an_id_that_was_in_the_group_and_out_again_unheard_gets_a_new_id() {
    let mut cluster = Cluster::with_shards(4);
    cluster.move_shard(1, &[1, 2, 4], 1).unwrap();
    assert_eq!(cluster.target(1), [(1, 4), (2, 5), (4, 16)]);
    let group = cluster.shard(1).group.clone().unwrap();
    cluster.report_group(1, Group { version: 2, ..group.clone() });
    assert_eq!(cluster.target(1)[2], (4, 16), "it was never in the group");
    cluster.report_group(1, Group { version: 4, highest_replica_id: 16, ..group });
    assert_eq!(cluster.target(1)[2], (4, 17));
}

#[test]
fn a_target_keeps_the_ids_of_replicas_that_are_in_the_group_in_whatever_role() {
    let mut cluster = Cluster::with_shards(4);
    cluster.report(1, 4, &[(1, 4, Voter), (2, 5, Voter), (3, 6, Learner)]);
    assert_eq!(cluster.target(1), FIRST);
    cluster.report(1, 5, &[(1, 4, Voter), (2, 5, Voter), (3, 6, Voter)]);
    assert_eq!(cluster.target(1), FIRST);
}

/// A leader that had an older map put the learner out before anybody told that it was in.
#[test]
fn a_target_whose_id_its_node_cannot_make_gets_a_new_id_and_any_other_stays_as_it_is() {
    let mut cluster = Cluster::with_shards(4);
    cluster.move_shard(1, &[1, 2, 4], 1).unwrap();
    assert_eq!(cluster.target(1), [(1, 4), (2, 5), (4, 16)]);
    cluster.spent(1, 16);
    assert_eq!(cluster.target(1), [(1, 4), (2, 5), (4, 17)]);
    let (before, number) = (cluster.map().version, cluster.shard(1).target.as_ref().unwrap().number);
    assert_eq!(number, 3);
    for (shard, id) in [(1, 16), (1, 99), (2, 17), (77, 17)] {
        cluster.spent(shard, id);
    }
    assert_eq!((cluster.map().version, cluster.target(1)[2]), (before, (4, 17)), "old news");
}

#[test]
fn older_and_unknown_reports_change_nothing() {
    let mut cluster = Cluster::with_shards(4);
    let voters = [(1, 4, Voter), (2, 5, Voter), (3, 6, Voter)];
    cluster.report(1, 5, &voters);
    let before = cluster.state.clone();
    cluster.report(1, 5, &voters);
    cluster.report(1, 4, &voters[..2]);
    cluster.report(1, 9, &[]);
    cluster.report(77, 9, &voters);
    assert_eq!(cluster.state, before);
    cluster.report(1, 5, &[(1, 4, Voter), (2, 5, Voter), (3, 6, Learner)]);
    assert_eq!(cluster.map().version, before.map.unwrap().version + 1);
}
