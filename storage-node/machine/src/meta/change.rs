//! What the operations share: the map inside the state, how a change raises its version, and how one is refused.

use granary_proto::{
    map::{ClusterMap, Node, NodeState, Shard},
    storage::{MetaState, Refused},
};

use crate::errors::code;

/// What an operation made, or why it was refused.
pub(super) type Outcome = Result<u64, Refused>;

pub(super) fn refused(code: u32, message: impl Into<String>) -> Refused {
    Refused { code, message: message.into() }
}

/// The map; a state has one from its founding on.
pub(super) fn map(state: &mut MetaState) -> &mut ClusterMap {
    state.map.get_or_insert_default()
}

/// The version of the map.
pub(super) fn version(state: &MetaState) -> u64 {
    state.map.as_ref().map_or(0, |map| map.version)
}

/// Marks the map as changed, and answers its new version.
pub(super) fn raise(state: &mut MetaState) -> u64 {
    let map = map(state);
    map.version += 1;
    map.version
}

/// Hands out a replica id, never twice.
pub(super) fn new_replica_id(state: &mut MetaState) -> u64 {
    let id = state.next_replica_id;
    state.next_replica_id += 1;
    id
}

pub(super) fn nodes(state: &MetaState) -> &[Node] {
    state.map.as_ref().map_or(&[], |map| &map.nodes)
}

pub(super) fn shards(state: &MetaState) -> &[Shard] {
    state.map.as_ref().map_or(&[], |map| &map.shards)
}

pub(super) fn node(state: &mut MetaState, id: u64) -> Result<&mut Node, Refused> {
    let known: Vec<u64> = nodes(state).iter().map(|node| node.id).collect();
    let found = map(state).nodes.iter_mut().find(|node| node.id == id);
    found.ok_or_else(|| {
        refused(code::NOT_FOUND, format!("node_id {id} is not a node of this cluster, which has {known:?}"))
    })
}

/// How many nodes but this one take replicas.
pub(super) fn active_nodes_beside(state: &MetaState, id: u64) -> usize {
    nodes(state).iter().filter(|node| node.id != id && node.state() == NodeState::Active).count()
}

pub(super) fn replication_factor(state: &MetaState) -> usize {
    state.map.as_ref().map_or(0, |map| map.replication_factor as usize)
}
