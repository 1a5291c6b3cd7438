//! Copies of the cluster map: which is newer, and what is where in it.

use granary_common::NodeId;
use granary_proto::map::{ClusterMap, Node, Shard};

/// Whether `offered` takes the place of `current`: it is newer, and of the same cluster.
pub fn is_newer(current: &ClusterMap, offered: &ClusterMap) -> bool {
    offered.version > current.version && (current.cluster_id.is_empty() || current.cluster_id == offered.cluster_id)
}

/// The member with this id.
pub fn node(map: &ClusterMap, id: NodeId) -> Option<&Node> {
    map.nodes.iter().find(|node| node.id == id.0)
}

/// The shard that owns `slot`.
pub fn shard_of_slot(map: &ClusterMap, slot: u16) -> Option<&Shard> {
    map.shards
        .iter()
        .find(|shard| shard.range.is_some_and(|range| range.start <= u32::from(slot) && u32::from(slot) < range.end))
}
