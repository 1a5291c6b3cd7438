//! Whether replicas and leaders are even, and whether no more replicas moved than had to.

use std::collections::BTreeSet;

use crate::{
    HarnessError, Result,
    local::{NodeRow, ShardRow, counts, spread},
};

/// Refuses counts of replicas, or of leaders, that differ by more than 1 between `nodes`.
pub fn balanced(shards: &[ShardRow], nodes: &[NodeRow]) -> Result<()> {
    let (replicas, leaders) = counts(shards);
    if spread(&replicas, nodes) <= 1 && spread(&leaders, nodes) <= 1 {
        Ok(())
    } else {
        Err(HarnessError(format!("not balanced: replicas {replicas:?}, leaders {leaders:?}")))
    }
}

/// Replicas of data shards that are where none of their shard was.
pub fn moved(before: &[ShardRow], after: &[ShardRow]) -> usize {
    places(after).difference(&places(before)).count()
}

/// Replicas that must move from `before` so that they are even over `nodes`: all of nodes that are not among them, and
/// what is beyond an even share of the others, however the remainder falls.
pub fn least_moves(before: &[ShardRow], nodes: &[NodeRow]) -> usize {
    let (replicas, _) = counts(before);
    let all: u64 = replicas.values().sum();
    let (share, remainder) = (all / nodes.len().max(1) as u64, all % nodes.len().max(1) as u64);
    let of = |node: &NodeRow| replicas.get(&node.id).copied().unwrap_or(0);
    let missing: u64 = nodes.iter().map(|node| share.saturating_sub(of(node))).sum();
    // Those that stay may keep one more than the share, as many of them as there is a remainder.
    let keeps_more = nodes.iter().filter(|node| of(node) > share).count() as u64;
    usize::try_from(missing + remainder.saturating_sub(keeps_more)).unwrap_or(usize::MAX)
}

fn places(shards: &[ShardRow]) -> BTreeSet<(u64, u64)> {
    let data = shards.iter().filter(|shard| shard.id != 0);
    data.flat_map(|shard| shard.nodes.iter().map(move |node| (shard.id, *node))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64) -> NodeRow {
        NodeRow { id, name: format!("node-{}", id - 1), pid: 1, replicas: 0, leaders: 0 }
    }

    fn shards(of: &[&[u64]]) -> Vec<ShardRow> {
        (1..)
            .zip(of)
            .map(|(id, nodes)| ShardRow { id, leader: nodes.first().copied(), nodes: nodes.to_vec() })
            .collect()
    }

    #[test]
    fn the_least_number_of_moves_counts_what_new_nodes_lack_and_what_leaving_nodes_hold() {
        let before = shards(&[&[1, 2, 3], &[1, 2, 3], &[1, 2, 3], &[1, 2, 3]]);
        // 12 replicas over 5 nodes: 2 for each of the two new ones at least.
        assert_eq!(least_moves(&before, &[1, 2, 3, 4, 5].map(node)), 4);
        assert_eq!(least_moves(&before, &[1, 2, 3].map(node)), 0);
        // 4 of node 3 have to go to node 4.
        assert_eq!(least_moves(&before, &[1, 2, 4].map(node)), 4);
        let five = shards(&[&[1, 2], &[3, 4], &[5, 1], &[2, 3], &[4, 5]]);
        // 10 replicas, 3 nodes: 4 of nodes 4 and 5 move.
        assert_eq!(least_moves(&five, &[1, 2, 3].map(node)), 4);
    }

    #[test]
    fn a_replica_moved_when_its_shard_had_none_on_that_node() {
        assert_eq!(moved(&shards(&[&[1, 2, 3]]), &shards(&[&[3, 1, 4]])), 1);
        assert_eq!(moved(&shards(&[&[1, 2, 3]]), &shards(&[&[3, 2, 1]])), 0);
    }
}
