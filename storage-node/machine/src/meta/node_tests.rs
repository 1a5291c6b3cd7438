use granary_proto::{
    admin::{CancelDrainRequest, RemoveNodeRequest},
    map::{Addresses, NodeState, ReplicaRole},
    storage::{AddressReport, LeadersAway, Refused, Reports, meta_command::Operation},
};

use super::fixture::*;
use crate::errors::code;

fn remove(cluster: &mut Cluster, node_id: u64) -> Result<u64, Refused> {
    cluster.run(Operation::RemoveNode(RemoveNodeRequest { operator_token: cluster.token, node_id }))
}

#[test]
fn a_node_that_joins_again_gets_the_id_it_has() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.join(&uuid(4), "node-4"), Ok(4));
    let version = cluster.map().version;
    assert_eq!(cluster.join(&uuid(4), "node-4"), Ok(4));
    assert_eq!(cluster.map().version, version, "nothing changed");
    assert_eq!(cluster.join(&uuid(2), "node-2"), Ok(2), "a founder is a node as well");
}

#[test]
fn a_wiped_node_is_a_new_one_under_its_old_name() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.join(&uuid(9), "node-3"), Ok(4));
    assert_eq!((cluster.node(3).name.as_str(), cluster.node(4).name.as_str()), ("node-3", "node-3"));
}

#[test]
fn a_node_of_another_cluster_or_of_too_low_a_level_or_without_a_uuid_may_not_join() {
    let mut cluster = Cluster::new();
    let sound = cluster.join_request(&uuid(4), "node-4");
    let other = granary_proto::raft::JoinClusterRequest { cluster_id: uuid(7), ..sound.clone() };
    assert_eq!(cluster.run(Operation::Join(other)).unwrap_err().code, code::FAILED_PRECONDITION);
    let old = granary_proto::raft::JoinClusterRequest { feature_level: 0, ..sound };
    assert_eq!(cluster.run(Operation::Join(old)).unwrap_err().code, code::FAILED_PRECONDITION);
    assert_eq!(cluster.join("node-4", "node-4").unwrap_err().code, code::INVALID_ARGUMENT);
    assert_eq!(cluster.state.next_node_id, 4);
}

#[test]
fn ids_of_removed_nodes_are_never_used_again() {
    let mut cluster = Cluster::with_shards(4);
    remove(&mut cluster, 4).unwrap();
    let version = cluster.map().version;
    assert_eq!(remove(&mut cluster, 4), Ok(version), "again is a no-op");
    assert_eq!(cluster.join(&uuid(5), "node-4"), Ok(5));
    assert_eq!(remove(&mut cluster, 9).unwrap_err().code, code::NOT_FOUND);
}

#[test]
fn a_node_that_a_target_or_a_group_names_is_not_removed() {
    let mut cluster = Cluster::with_shards(4);
    let refused = remove(&mut cluster, 3).unwrap_err();
    assert_eq!(refused.code, code::FAILED_PRECONDITION);
    assert!(refused.message.contains("5 shards need it: shard 0 (target and group)"), "{}", refused.message);

    for shard in 0..=4 {
        cluster.move_shard(shard, &[1, 2, 4], 1).unwrap();
    }
    let refused = remove(&mut cluster, 3).unwrap_err();
    assert!(refused.message.contains("shard 4 (group)"), "{}", refused.message);
    assert!(remove(&mut cluster, 4).unwrap_err().message.contains("shard 4 (target)"));

    for shard in 0..=4 {
        let target = cluster.target(shard);
        let group: Vec<_> = target.iter().map(|(node, id)| (*node, *id, ReplicaRole::Voter)).collect();
        cluster.report(shard, 4, &group);
    }
    remove(&mut cluster, 3).unwrap();
    assert!(!cluster.map().nodes.iter().any(|node| node.id == 3));
}

#[test]
fn draining_is_refused_when_too_few_active_nodes_would_be_left() {
    let mut cluster = Cluster::with_shards(4);
    cluster.drain(4).unwrap();
    let version = cluster.map().version;
    assert_eq!(cluster.drain(4), Ok(version), "again is a no-op");
    let refused = cluster.drain(3).unwrap_err();
    assert_eq!(refused.code, code::FAILED_PRECONDITION);
    assert!(refused.message.contains("2 active nodes would be left"), "{}", refused.message);
    assert!(refused.message.contains("needs 3"), "{}", refused.message);
    assert_eq!(cluster.drain(9).unwrap_err().code, code::NOT_FOUND);
}

#[test]
fn a_cancelled_drain_leaves_the_node_active() {
    let mut cluster = Cluster::with_shards(4);
    cluster.drain(4).unwrap();
    let cancel = Operation::CancelDrain(CancelDrainRequest { operator_token: cluster.token, node_id: 4 });
    let version = cluster.run(cancel.clone()).unwrap();
    assert_eq!(cluster.node(4).state(), NodeState::Active);
    assert_eq!(cluster.run(cancel), Ok(version), "again is a no-op");
}

#[test]
fn leaders_are_kept_away_for_a_lease_of_at_most_10_minutes() {
    let mut cluster = Cluster::new();
    let away = |cluster: &Cluster, lease_ms| {
        Operation::LeadersAway(LeadersAway { operator_token: cluster.token, node_id: 2, lease_ms })
    };
    let longest = away(&cluster, 600_000);
    cluster.run(longest).unwrap();
    assert_eq!(cluster.node(2).leaders_away_until_ms, cluster.now + 600_000);
    let longer = away(&cluster, 600_001);
    assert_eq!(cluster.run(longer).unwrap_err().code, code::INVALID_ARGUMENT);
    let end = away(&cluster, 0);
    let version = cluster.run(end.clone()).unwrap();
    assert_eq!(cluster.node(2).leaders_away_until_ms, 0);
    assert_eq!(cluster.run(end), Ok(version), "again is a no-op");
}

#[test]
fn reported_addresses_are_written_down_and_raise_the_version_only_when_they_are_new() {
    let mut cluster = Cluster::new();
    let version = cluster.map().version;
    let addresses = Some(Addresses { kv: "127.0.0.1:7".into(), peer: "127.0.0.1:8".into() });
    let report = |node_id| AddressReport { node_id, addresses: addresses.clone() };
    let reports = Reports { addresses: (1..=9).map(report).collect(), ..Reports::default() };
    assert_eq!(cluster.run(Operation::Reports(reports.clone())), Ok(version + 1));
    assert_eq!(cluster.run(Operation::Reports(reports)), Ok(version + 1));
    assert!(cluster.map().nodes.iter().all(|node| node.addresses == addresses));
}
