//! What a status says on Kubernetes and nowhere else: places by the names of their objects.

use granary_crds::StorageClusterStatus;

use crate::substrate::kubernetes::names;

/// The status as it is written.
pub fn present(mut status: StorageClusterStatus, cluster: &str) -> StorageClusterStatus {
    for node in &mut status.nodes {
        // What was read back from the API server has the name already.
        if let Some(index) = names::index(&node.name) {
            node.name = names::object(cluster, index);
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use granary_crds::status::NodeStatus;

    use super::*;

    #[test]
    fn nodes_are_named_like_their_statefulsets_and_only_once() {
        let node = NodeStatus { name: "node-3".into(), ..NodeStatus::default() };
        let status = StorageClusterStatus { nodes: vec![node], ..StorageClusterStatus::default() };
        let once = present(status, "demo");
        assert_eq!(once.nodes[0].name, "demo-node-3");
        assert_eq!(present(once.clone(), "demo"), once);
    }
}
