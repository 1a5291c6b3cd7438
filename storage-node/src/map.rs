//! The newest cluster map this node has: pushed by the meta shard's leader, kept on disk, watched by everyone here.

use std::sync::Arc;

use granary_duties::map::is_newer;
pub use granary_duties::map::{node, shard_of_slot};
use granary_proto::map::ClusterMap;
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
            let newer = is_newer(current, &map);
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
