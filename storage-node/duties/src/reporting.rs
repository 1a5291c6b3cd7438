//! Reports of nodes to the leader of the meta shard: whom to ask, and whose report counts.

use granary_common::{META_SHARD, NodeId};
use granary_proto::{map::ClusterMap, raft::Sender};
use thiserror::Error;

use crate::map;

/// Why a sender is not a node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoMember {
    /// The id belongs to another disk.
    #[error("sender.uuid is {theirs:?}, but node {node} is {known:?}: two disks claim to be one node")]
    OtherDisk {
        /// The id.
        node: u64,
        /// The sender's disk.
        theirs: String,
        /// The node's disk.
        known: String,
    },
    /// The map has no such node.
    #[error("node {node} is not a node of this cluster: it was removed")]
    Removed {
        /// The id.
        node: u64,
    },
}

/// Whether the sender is the node that the map has under its id (HAZARDS H28).
///
/// # Errors
/// See [`NoMember`].
pub fn check_member(map: &ClusterMap, sender: &Sender) -> Result<(), NoMember> {
    match map::node(map, NodeId(sender.node_id)) {
        Some(node) if node.uuid == sender.uuid => Ok(()),
        Some(node) => Err(NoMember::OtherDisk { node: node.id, theirs: sender.uuid.clone(), known: node.uuid.clone() }),
        None => Err(NoMember::Removed { node: sender.node_id }),
    }
}

/// Whom to ask, the best last: who is believed to lead, then voters of the meta shard, then all others; and who is `known`
/// otherwise, as by a seed: the map may be lost or old.
pub fn candidates(
    map: &ClusterMap,
    believed: Option<NodeId>,
    known: impl IntoIterator<Item = NodeId>,
    own: NodeId,
) -> Vec<NodeId> {
    let meta = map.shards.iter().find(|shard| shard.id == META_SHARD.0);
    let replicas = meta.and_then(|meta| meta.group.as_ref()).map_or(&[][..], |group| &group.replicas);
    let holders = replicas.iter().map(|replica| NodeId(replica.node_id));
    let all = map.nodes.iter().map(|node| NodeId(node.id));
    let mut order: Vec<NodeId> = Vec::new();
    for node in believed.into_iter().chain(holders).chain(all).chain(known) {
        if node != own && !order.contains(&node) {
            order.push(node);
        }
    }
    order.reverse();
    order
}

#[cfg(test)]
mod tests {
    use granary_proto::map::Node;

    use super::*;
    use crate::testing::map;

    #[test]
    fn the_believed_leader_is_asked_first_then_holders_of_the_meta_shard_then_all() {
        let map = map(5, &[&[2, 3, 4]]);
        let mut order = candidates(&map, Some(NodeId(4)), [5, 9, 3].map(NodeId), NodeId(3));
        order.reverse();
        assert_eq!(order, [4, 2, 1, 5, 9].map(NodeId));
        assert_eq!(candidates(&ClusterMap::default(), None, [NodeId(9)], NodeId(3)), [NodeId(9)], "without a map");
    }

    #[test]
    fn a_sender_is_known_by_its_id_and_the_uuid_of_its_disk() {
        let node = Node { id: 2, uuid: "a".into(), ..Node::default() };
        let map = ClusterMap { nodes: vec![node], ..ClusterMap::default() };
        let sender = |node_id, uuid: &str| Sender { node_id, uuid: uuid.into(), ..Sender::default() };
        assert!(check_member(&map, &sender(2, "a")).is_ok());
        let copied = check_member(&map, &sender(2, "b")).unwrap_err().to_string();
        assert!(copied.contains("\"a\"") && copied.contains("\"b\""), "{copied}");
        assert_eq!(check_member(&map, &sender(3, "a")), Err(NoMember::Removed { node: 3 }));
    }
}
