//! Maps and reports for the tests of `view` and `guard`.

use granary_proto::{
    map::{ClusterMap, Group, Node, NodeState, Replica, ReplicaRole, Shard, Target},
    raft::{HeldReplica, LedShard, ReplicaProgress, ReportRequest, Sender},
};

/// Replica ids are 100 times the shard plus the node.
pub(crate) fn replica(shard: u32, node_id: u64, role: ReplicaRole) -> Replica {
    Replica { id: u64::from(shard) * 100 + node_id, node_id, role: role.into() }
}

pub(crate) fn group(shard: u32, version: u64, voters: &[u64]) -> Group {
    let replicas = voters.iter().map(|&node| replica(shard, node, ReplicaRole::Voter)).collect();
    Group { version, replicas, joint: false }
}

/// Nodes 1 to `nodes`, replication factor 3, and shards 0, 1, … with these voters.
pub(crate) fn map(nodes: u64, shards: &[&[u64]]) -> ClusterMap {
    let node = |id| Node { id, state: NodeState::Active.into(), ..Node::default() };
    let shard = |(id, voters): (usize, &&[u64])| {
        let group = group(id as u32, 1, voters);
        let target = Some(Target { number: 1, replicas: group.replicas.clone() });
        Shard { id: id as u32, target, group: Some(group), ..Shard::default() }
    };
    ClusterMap {
        cluster_id: "cluster".into(),
        version: 7,
        replication_factor: 3,
        nodes: (1..=nodes).map(node).collect(),
        shards: shards.iter().enumerate().map(shard).collect(),
        ..ClusterMap::default()
    }
}

/// A leader's word in which all of the group but `behind` are active and caught up.
pub(crate) fn led(shard_id: u32, term: u64, group: Group, behind: &[u64]) -> LedShard {
    let progress = |replica: &Replica| {
        let good = !behind.contains(&replica.node_id);
        ReplicaProgress { replica_id: replica.id, active: good, caught_up: good, ..ReplicaProgress::default() }
    };
    let progress = group.replicas.iter().map(progress).collect();
    LedShard { shard_id, term, group: Some(group), progress, bytes: 1000, ..LedShard::default() }
}

pub(crate) fn report(node_id: u64, incarnation: u64, led: Vec<LedShard>) -> ReportRequest {
    let sender = Sender { node_id, incarnation, ..Sender::default() };
    ReportRequest { sender: Some(sender), led, ..ReportRequest::default() }
}

pub(crate) fn held(shard_id: u32, node: u64) -> HeldReplica {
    HeldReplica { shard_id, replica_id: u64::from(shard_id) * 100 + node, applied_index: 9 }
}
