//! The newest cluster map this node has: pushed by the meta shard's leader, kept on disk, watched by everyone here.

use std::sync::Arc;

use granary_common::NodeId;
use granary_proto::map::{ClusterMap, Node, Shard};
use tokio::sync::watch;

/// Holds the copy with the highest version seen.
#[derive(Clone)]
pub struct MapHolder {
    sender: Arc<watch::Sender<Arc<ClusterMap>>>,
}

impl MapHolder {
    /// Begins with the copy found on disk, or an empty map (version 0).
    pub fn new(map: ClusterMap) -> Self {
        Self { sender: Arc::new(watch::Sender::new(Arc::new(map))) }
    }

    /// The newest copy.
    pub fn current(&self) -> Arc<ClusterMap> {
        self.sender.borrow().clone()
    }

    /// Takes a copy over if it is newer and of the same cluster. Says whether it was.
    pub fn offer(&self, map: ClusterMap) -> bool {
        self.sender.send_if_modified(|current| {
            let newer = map.version > current.version
                && (current.cluster_id.is_empty() || current.cluster_id == map.cluster_id);
            if newer {
                *current = Arc::new(map);
            }
            newer
        })
    }

    /// Told of each newer copy.
    pub fn subscribe(&self) -> watch::Receiver<Arc<ClusterMap>> {
        self.sender.subscribe()
    }
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
