//! Maps and reports for tests of what is decided here, and of its callers. Not for real nodes.

use granary_proto::{
    map::{ClusterMap, Group, Node, NodeState, Replica, ReplicaRole, Shard, Target},
    raft::{HeldReplica, LedShard, ReplicaProgress, ReportRequest, Sender},
};

/// A replica. Its id is 100 times the shard plus the node.
pub fn replica(shard: u32, node_id: u64, role: ReplicaRole) -> Replica {
    Replica { id: u64::from(shard) * 100 + node_id, node_id, role: role.into() }
}

/// A group of these voters, not within a change.
pub fn group(shard: u32, version: u64, voters: &[u64]) -> Group {
    let replicas = voters.iter().map(|&node| replica(shard, node, ReplicaRole::Voter)).collect();
    Group { version, replicas, joint: false, highest_replica_id: 0 }
}

/// Nodes 1 to `nodes`, replication factor 3, and shards 0, 1, … with these voters.
pub fn map(nodes: u64, shards: &[&[u64]]) -> ClusterMap {
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
pub fn led(shard_id: u32, term: u64, group: Group, behind: &[u64]) -> LedShard {
    let progress = |replica: &Replica| {
        let good = !behind.contains(&replica.node_id);
        ReplicaProgress { replica_id: replica.id, active: good, caught_up: good, ..ReplicaProgress::default() }
    };
    let progress = group.replicas.iter().map(progress).collect();
    LedShard { shard_id, term, group: Some(group), progress, bytes: 1000, ..LedShard::default() }
}

/// A report of this node that says no more.
pub fn report(node_id: u64, incarnation: u64, led: Vec<LedShard>) -> ReportRequest {
    let sender = Sender { node_id, incarnation, ..Sender::default() };
    ReportRequest { sender: Some(sender), led, ..ReportRequest::default() }
}

/// What a node says of a replica it holds.
pub fn held(shard_id: u32, node: u64) -> HeldReplica {
    HeldReplica { shard_id, replica_id: u64::from(shard_id) * 100 + node, applied_index: 9 }
}
