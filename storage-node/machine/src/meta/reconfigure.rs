//! New targets of shards.

use std::collections::BTreeMap;

use granary_common::limits::MAX_SHARDS;
use granary_proto::{
    admin::{Reconfiguration, ReconfigureOutcome, ReconfigureRequest, ReconfigureResponse},
    map::{Group, Replica, ReplicaRole, Shard, Target},
    storage::{MetaState, Refused},
};

use super::{
    change::{map, new_replica_id, raise, refused, shards},
    placement,
};
use crate::errors::code;

/// Most items of one request: each data shard and the meta shard.
const MAX_ITEMS: usize = MAX_SHARDS as usize + 1;

/// Writes the targets of all items that can be accepted; each stands alone.
pub(super) fn apply(
    state: &mut MetaState,
    request: &ReconfigureRequest,
    now: u64,
) -> Result<ReconfigureResponse, Refused> {
    if !(1..=MAX_ITEMS).contains(&request.items.len()) {
        let message = format!("items are {}; 1 to {MAX_ITEMS} are allowed", request.items.len());
        return Err(refused(code::INVALID_ARGUMENT, message));
    }
    let mut changed = false;
    let mut outcomes = Vec::with_capacity(request.items.len());
    for item in &request.items {
        let (accepted, message) = match one(state, item, now) {
            Ok(item_changed) => {
                changed |= item_changed;
                (true, String::new())
            }
            Err(why) => (false, why),
        };
        outcomes.push(ReconfigureOutcome { shard_id: item.shard_id, accepted, message });
    }
    if changed {
        raise(state);
    }
    Ok(ReconfigureResponse { outcomes })
}

/// Whether it changed anything.
fn one(state: &mut MetaState, item: &Reconfiguration, now: u64) -> Result<bool, String> {
    let place = shards(state).binary_search_by_key(&item.shard_id, |shard| shard.id).map_err(|_| {
        format!("shard_id {} is not a shard; 0 to {} are", item.shard_id, shards(state).len().saturating_sub(1))
    })?;
    let shard = &shards(state)[place];
    let target = shard.target.clone().unwrap_or_default();
    if target.replicas.iter().map(|replica| replica.node_id).eq(item.node_ids.iter().copied()) {
        return Ok(false);
    }
    let version = shard.group.as_ref().map_or(0, |group| group.version);
    if item.expected_version != version {
        return Err(format!(
            "expected_version is {}, but the group of shard {} is at version {version}; look again",
            item.expected_version, item.shard_id
        ));
    }
    let present = present(shard);
    placement::check(state, &item.node_ids, &present.keys().copied().collect(), now).map_err(|why| why.message)?;
    let replica = |&node_id: &u64| Replica {
        id: present.get(&node_id).copied().unwrap_or_else(|| new_replica_id(state)),
        node_id,
        role: ReplicaRole::Voter.into(),
    };
    let replicas = item.node_ids.iter().map(replica).collect();
    map(state).shards[place].target = Some(Target { number: target.number + 1, replicas });
    Ok(true)
}

/// The replica ids of nodes that hold the shard, or shall: they are kept. Not that of a replica on its way out: the
/// group will destroy it, and its id must not come back (HAZARDS.md, H2).
fn present(shard: &Shard) -> BTreeMap<u64, u64> {
    let group = shard.group.iter().flat_map(|group| &group.replicas);
    let staying = group.filter(|replica| replica.role() != ReplicaRole::Outgoing);
    let target = shard.target.iter().flat_map(|target| &target.replicas);
    staying.chain(target).map(|replica| (replica.node_id, replica.id)).collect()
}

/// Whether the replica was in the group and is out, or on its way: its id never comes back (HAZARDS.md, H2). A target that
/// was written before the group told of it may name that id still.
pub(super) fn is_spent(id: u64, group: &Group) -> bool {
    let role = group.replicas.iter().find(|replica| replica.id == id).map(Replica::role);
    id <= group.highest_replica_id && matches!(role, None | Some(ReplicaRole::Outgoing))
}

/// Gives new ids to the replicas of a shard's target whose ids are spent. Whether there was any.
pub(super) fn replace_ids(state: &mut MetaState, shard_id: u32, spent: impl Fn(u64) -> bool) -> bool {
    let Ok(place) = shards(state).binary_search_by_key(&shard_id, |shard| shard.id) else { return false };
    let Some(mut target) = shards(state)[place].target.clone() else { return false };
    let mut changed = false;
    for replica in target.replicas.iter_mut().filter(|replica| spent(replica.id)) {
        replica.id = new_replica_id(state);
        changed = true;
    }
    if changed {
        target.number += 1;
        map(state).shards[place].target = Some(target);
    }
    changed
}
