//! When leaders shall leave a node by the word of the map: it drains, or a lease keeps them away from it. What is wrong with
//! the node itself is the watchdog's business.

use std::time::Duration;

use granary_common::NodeId;
use granary_proto::map::{ClusterMap, NodeState};

use crate::map;

/// Where leaders shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Here too.
    Stay,
    /// Elsewhere.
    Away,
    /// Elsewhere, for this long.
    AwayFor(Duration),
}

/// What the map wants of the leaders on node `id` at `unix_ms` by its wall clock: elsewhere while it drains, or while a
/// lease says so.
pub fn wish(map: &ClusterMap, id: NodeId, unix_ms: u64) -> Wish {
    match map::node(map, id) {
        Some(node) if node.state() == NodeState::Draining => Wish::Away,
        Some(node) if node.leaders_away_until_ms > unix_ms => {
            Wish::AwayFor(Duration::from_millis(node.leaders_away_until_ms - unix_ms))
        }
        _ => Wish::Stay,
    }
}

/// All nodes that leaders shall leave by the word of the map at `unix_ms`. Nobody hands leaders to them while another may
/// have them: two such nodes would send them to each other, round and round.
pub fn sent_away(map: &ClusterMap, unix_ms: u64) -> impl Iterator<Item = NodeId> {
    let ids = map.nodes.iter().map(|node| NodeId(node.id));
    ids.filter(move |id| wish(map, *id, unix_ms) != Wish::Stay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::map;

    #[test]
    fn leaders_go_away_while_the_node_drains_or_a_lease_says_so() {
        let mut map = map(2, &[]);
        assert_eq!(wish(&map, NodeId(2), 1000), Wish::Stay);
        map.nodes[1].leaders_away_until_ms = 1500;
        assert_eq!(wish(&map, NodeId(2), 1000), Wish::AwayFor(Duration::from_millis(500)));
        assert_eq!(wish(&map, NodeId(2), 1500), Wish::Stay, "the lease ends by itself");
        assert_eq!(wish(&map, NodeId(1), 1000), Wish::Stay, "it is about one node");
        map.nodes[1].set_state(NodeState::Draining);
        assert_eq!(wish(&map, NodeId(2), 9999), Wish::Away);
    }

    #[test]
    fn all_nodes_that_drain_or_have_a_lease_against_leaders_are_named() {
        let mut map = map(5, &[]);
        assert_eq!(sent_away(&map, 1000).count(), 0);
        map.nodes[3].set_state(NodeState::Draining);
        map.nodes[4].set_state(NodeState::Draining);
        map.nodes[0].leaders_away_until_ms = 1500;
        assert_eq!(sent_away(&map, 1000).collect::<Vec<_>>(), [NodeId(1), NodeId(4), NodeId(5)]);
        assert_eq!(sent_away(&map, 1500).collect::<Vec<_>>(), [NodeId(4), NodeId(5)]);
    }
}
