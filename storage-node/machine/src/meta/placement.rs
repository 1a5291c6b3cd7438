//! Whether nodes can be the voters of a shard.

use std::collections::BTreeSet;

use granary_proto::{
    map::NodeState,
    storage::{MetaState, Refused},
};

use super::{
    change::{nodes, refused, replication_factor},
    stop::stop_hold,
};
use crate::errors::code;

/// Checks the nodes of a shard's voters. Those of `present` hold a replica of it already, so they may stay whatever
/// state they are in; the others must be able to take one now.
pub(super) fn check(state: &MetaState, node_ids: &[u64], present: &BTreeSet<u64>, now: u64) -> Result<(), Refused> {
    let wanted = replication_factor(state);
    let distinct: BTreeSet<u64> = node_ids.iter().copied().collect();
    if node_ids.len() != wanted || distinct.len() != wanted {
        let message = format!("node_ids are {node_ids:?}; {wanted} distinct nodes (the replication factor) are wanted");
        return Err(refused(code::INVALID_ARGUMENT, message));
    }
    for id in node_ids {
        let Some(node) = nodes(state).iter().find(|node| node.id == *id) else {
            let message = format!("node_ids has {id}, which is not a node of this cluster");
            return Err(refused(code::NOT_FOUND, message));
        };
        if present.contains(id) {
            continue;
        }
        if node.state() != NodeState::Active {
            let message =
                format!("node {id} is draining and takes no new replicas; name another node, or cancel its drain");
            return Err(refused(code::FAILED_PRECONDITION, message));
        }
        if let Some((reserved, remaining_ms)) = stop_hold(state, now)
            && reserved == *id
        {
            let seconds = remaining_ms.div_ceil(1000);
            let message = format!("node {id} is reserved to be stopped, for {seconds} s more; wait, or release it");
            return Err(refused(code::FAILED_PRECONDITION, message));
        }
    }
    Ok(())
}
