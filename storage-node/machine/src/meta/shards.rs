//! The creation of all data shards, in one entry.

use std::collections::BTreeSet;

use granary_common::SlotRange;
use granary_proto::{
    admin::{CreateShardsRequest, Placement},
    map::{self, Group, Replica, ReplicaRole, Shard, Target},
    storage::MetaState,
};

use super::{
    change::{self, Outcome, new_replica_id, raise, refused, shards, version},
    placement,
};
use crate::errors::code;

/// Creates all data shards with their first voters, once; the same ones again are a no-op.
pub(super) fn create(state: &mut MetaState, request: &CreateShardsRequest, now: u64) -> Outcome {
    let count = change::map(state).shard_count;
    let mut placements: Vec<&Placement> = request.shards.iter().collect();
    placements.sort_by_key(|placement| placement.shard_id);
    if !placements.iter().map(|placement| placement.shard_id).eq(1..=count) {
        let message = format!("shards are {} placements; shards 1 to {count} are wanted, each once", placements.len());
        return Err(refused(code::INVALID_ARGUMENT, message));
    }
    if shards(state).len() > 1 {
        return if same(state, &placements) {
            Ok(version(state))
        } else {
            let message = format!("the {count} data shards were created before, elsewhere; move them with Reconfigure");
            Err(refused(code::ALREADY_EXISTS, message))
        };
    }
    for placement in &placements {
        placement::check(state, &placement.node_ids, &BTreeSet::new(), now)
            .map_err(|why| refused(why.code, format!("shard {}: {}", placement.shard_id, why.message)))?;
    }
    for placement in placements {
        let voter = |&node_id: &u64| Replica { id: new_replica_id(state), node_id, role: ReplicaRole::Voter.into() };
        let replicas: Vec<Replica> = placement.node_ids.iter().map(voter).collect();
        let range = SlotRange::of_shard(placement.shard_id - 1, count);
        change::map(state).shards.push(Shard {
            id: placement.shard_id,
            range: Some(map::SlotRange { start: range.start.into(), end: range.end.into() }),
            target: Some(Target { number: 1, replicas: replicas.clone() }),
            group: Some(Group { version: 1, replicas, joint: false, highest_replica_id: 0 }),
        });
    }
    Ok(raise(state))
}

/// Whether the shards' targets are these, in the order of shard ids.
fn same(state: &MetaState, placements: &[&Placement]) -> bool {
    let targets = shards(state).iter().skip(1).map(|shard| {
        let replicas = shard.target.iter().flat_map(|target| &target.replicas);
        replicas.map(|replica| replica.node_id).collect::<Vec<u64>>()
    });
    targets.eq(placements.iter().map(|placement| placement.node_ids.clone()))
}
