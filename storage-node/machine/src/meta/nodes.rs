//! Nodes: join, drain, remove, and leases that keep leaders away.

use granary_proto::{
    admin::{CancelDrainRequest, DrainRequest, RemoveNodeRequest},
    map::{Node, NodeState},
    raft::JoinClusterRequest,
    storage::{LeadersAway, MetaState},
};

use super::{
    change::{Outcome, active_nodes_beside, map, node, nodes, raise, refused, replication_factor, shards, version},
    founding::is_uuid,
};
use crate::errors::code;

/// Longest lease that keeps leaders away from a node, in ms.
pub const MAX_LEASE_MS: u64 = 600_000;
/// Most shards that a refusal names.
const MAX_NAMED: usize = 16;

/// Adds a node, or answers the id it has. A node is its uuid: a wiped disk comes back under its old name as another node.
pub(super) fn join(state: &mut MetaState, request: &JoinClusterRequest) -> Outcome {
    if !is_uuid(&request.uuid) {
        let message = format!("uuid is {:?}; a UUID of 36 characters is wanted", request.uuid);
        return Err(refused(code::INVALID_ARGUMENT, message));
    }
    let cluster = map(state);
    if request.cluster_id != cluster.cluster_id {
        let message = format!("cluster_id is {:?}, but this is cluster {}", request.cluster_id, cluster.cluster_id);
        return Err(refused(code::FAILED_PRECONDITION, message));
    }
    if request.feature_level < cluster.feature_level {
        let message = format!(
            "feature_level is {}, but the cluster is at {}, which never falls; run a newer version on node {:?}",
            request.feature_level, cluster.feature_level, request.name
        );
        return Err(refused(code::FAILED_PRECONDITION, message));
    }
    if let Some(known) = cluster.nodes.iter_mut().find(|node| node.uuid == request.uuid) {
        let id = known.id;
        if known.addresses != request.addresses {
            known.addresses.clone_from(&request.addresses);
            raise(state);
        }
        return Ok(id);
    }
    let id = state.next_node_id;
    state.next_node_id += 1;
    // Ids only grow, so the list stays in their order.
    map(state).nodes.push(Node {
        id,
        uuid: request.uuid.clone(),
        name: request.name.clone(),
        state: NodeState::Active.into(),
        addresses: request.addresses.clone(),
        domains: request.domains.clone(),
        leaders_away_until_ms: 0,
        feature_level: request.feature_level,
    });
    raise(state);
    Ok(id)
}

/// Marks a node Draining, unless too few would be left for its replicas.
pub(super) fn drain(state: &mut MetaState, request: &DrainRequest) -> Outcome {
    if node(state, request.node_id)?.state() == NodeState::Draining {
        return Ok(version(state));
    }
    let (left, wanted) = (active_nodes_beside(state, request.node_id), replication_factor(state));
    if left < wanted {
        let message = format!(
            "node {} cannot be drained: {left} active nodes would be left, and replicationFactor {wanted} needs {wanted}; \
             add a node first",
            request.node_id
        );
        return Err(refused(code::FAILED_PRECONDITION, message));
    }
    node(state, request.node_id)?.set_state(NodeState::Draining);
    Ok(raise(state))
}

/// Marks a node Active again.
pub(super) fn cancel_drain(state: &mut MetaState, request: &CancelDrainRequest) -> Outcome {
    let node = node(state, request.node_id)?;
    if node.state() == NodeState::Active {
        return Ok(version(state));
    }
    node.set_state(NodeState::Active);
    Ok(raise(state))
}

/// Keeps leaders away from a node for a while, or ends that.
pub(super) fn leaders_away(state: &mut MetaState, request: &LeadersAway, now: u64) -> Outcome {
    if request.lease_ms > MAX_LEASE_MS {
        let message =
            format!("lease_ms is {}; up to {MAX_LEASE_MS} are allowed, and 0 to end the lease", request.lease_ms);
        return Err(refused(code::INVALID_ARGUMENT, message));
    }
    let until = if request.lease_ms == 0 { 0 } else { now.saturating_add(request.lease_ms) };
    let node = node(state, request.node_id)?;
    if node.leaders_away_until_ms == until {
        return Ok(version(state));
    }
    node.leaders_away_until_ms = until;
    Ok(raise(state))
}

/// Takes a node off the map for good, when no shard needs it any more.
pub(super) fn remove(state: &mut MetaState, request: &RemoveNodeRequest) -> Outcome {
    let id = request.node_id;
    if id == 0 || id >= state.next_node_id {
        let message =
            format!("node_id {id} was never given out; ids from 1 to {} were", state.next_node_id.saturating_sub(1));
        return Err(refused(code::NOT_FOUND, message));
    }
    if !nodes(state).iter().any(|node| node.id == id) {
        return Ok(version(state));
    }
    let needed = needed_by(state, id);
    if !needed.is_empty() {
        let message = format!(
            "node {id} cannot be removed, {} shards need it: {}; drain it and wait until its replicas have moved",
            needed.len(),
            needed.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", "),
        );
        return Err(refused(code::FAILED_PRECONDITION, message));
    }
    map(state).nodes.retain(|node| node.id != id);
    if state.stop.is_some_and(|stop| stop.node_id == id) {
        state.stop = None;
    }
    Ok(raise(state))
}

/// Why a node cannot be removed: each shard whose target or group names it, such as "shard 17 (target)". For CanRemove.
pub fn needed_by(state: &MetaState, node_id: u64) -> Vec<String> {
    let why = |shard: &granary_proto::map::Shard| {
        let names =
            |replicas: &[granary_proto::map::Replica]| replicas.iter().any(|replica| replica.node_id == node_id);
        let target = shard.target.as_ref().is_some_and(|target| names(&target.replicas));
        let group = shard.group.as_ref().is_some_and(|group| names(&group.replicas));
        match (target, group) {
            (true, true) => Some(format!("shard {} (target and group)", shard.id)),
            (true, false) => Some(format!("shard {} (target)", shard.id)),
            (false, true) => Some(format!("shard {} (group)", shard.id)),
            (false, false) => None,
        }
    };
    shards(state).iter().filter_map(why).collect()
}
