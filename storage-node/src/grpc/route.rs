//! Which shard a request is for, by this node's copy of the map, and who is believed to lead it. A hint: the shard checks
//! its range itself.

use granary_common::{META_SHARD, NodeId, ShardId};
use granary_proto::{
    kv::Error,
    map::{ClusterMap, Shard},
};

use super::errors;
use crate::{drivers::StoreError, map, member::Member};

/// The shard that owns `slot`.
pub(super) fn of_slot(map: &ClusterMap, slot: u16) -> Result<ShardId, Error> {
    map::shard_of_slot(map, slot).map(|shard| ShardId(shard.id)).ok_or_else(no_shards)
}

/// The data shard that a request names.
pub(super) fn named(map: &ClusterMap, id: u32) -> Result<&Shard, Error> {
    data_shards(map)?.into_iter().find(|shard| shard.id == id).ok_or_else(|| {
        errors::invalid("shard_id", format!("is {id}; the data shards of this cluster are 1 to {}", map.shard_count))
    })
}

/// All data shards, in shard order; at least one.
pub(super) fn data_shards(map: &ClusterMap) -> Result<Vec<&Shard>, Error> {
    let shards: Vec<_> = map.shards.iter().filter(|shard| shard.id != META_SHARD.0).collect();
    if shards.is_empty() { Err(no_shards()) } else { Ok(shards) }
}

fn no_shards() -> Error {
    errors::not_ready("the data shards of this cluster are not created yet; try again later")
}

/// The store's failure, with the best hint that this node has.
pub(super) fn refusal(member: &Member, shard: ShardId, error: StoreError) -> Error {
    errors::of_store(error, shard, &member.map.current(), believed_leader(member, shard))
}

fn believed_leader(member: &Member, shard: ShardId) -> Option<NodeId> {
    let published = member.store.published(shard).and_then(|state| state.leader);
    published.or_else(|| member.meta.leaders().into_iter().find(|(led, _)| *led == shard).map(|(_, leader)| leader))
}
