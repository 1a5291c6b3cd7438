//! Shapes of partitions, as who does not reach whom. Pure.

use std::collections::BTreeSet;

use crate::kind::Kind;

/// (from, to): what `from` sends does not reach `to`.
pub type Cuts = BTreeSet<(u32, u32)>;

/// Who does not reach whom. `nodes`: all, by index; `first`: whom it is about, such as the one that leads most.
pub fn of(kind: Kind, nodes: &[u32], first: u32, pick: u64) -> Cuts {
    let others: Vec<u32> = nodes.iter().copied().filter(|node| *node != first).collect();
    let Some(other) = others.get(pick as usize % others.len().max(1)).copied() else { return Cuts::new() };
    match kind {
        Kind::OneWay if pick.is_multiple_of(2) => others.iter().map(|other| (first, *other)).collect(),
        Kind::OneWay => others.iter().map(|other| (*other, first)).collect(),
        Kind::OneFromOne => both(&[first], &[other]),
        Kind::Bridge => {
            let (left, right) = others.split_at(others.len() / 2);
            both(left, right)
        }
        Kind::Ring => ring(nodes),
        _ => both(&[first], &others),
    }
}

fn both(left: &[u32], right: &[u32]) -> Cuts {
    let pairs = left.iter().flat_map(|one| right.iter().map(|other| (*one, *other)));
    pairs.flat_map(|(one, other)| [(one, other), (other, one)]).collect()
}

/// From four nodes on each hears both neighbours: with five, every node is in another majority. Fewer would all hear
/// all: there each hears one.
fn ring(nodes: &[u32]) -> Cuts {
    let count = nodes.len();
    let hears = |from: usize, to: usize| (from + 1) % count == to || (count >= 4 && (to + 1) % count == from);
    let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
    pairs.filter(|(from, to)| from != to && !hears(*from, *to)).map(|(from, to)| (nodes[from], nodes[to])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_isolated_node_reaches_nobody_and_the_others_reach_each_other() {
        let cuts = of(Kind::Isolate, &[0, 1, 2], 1, 9);
        assert_eq!(cuts, Cuts::from([(1, 0), (0, 1), (1, 2), (2, 1)]));
    }

    #[test]
    fn one_way_is_one_way() {
        assert_eq!(of(Kind::OneWay, &[0, 1, 2], 0, 0), Cuts::from([(0, 1), (0, 2)]));
        assert_eq!(of(Kind::OneWay, &[0, 1, 2], 0, 1), Cuts::from([(1, 0), (2, 0)]));
    }

    #[test]
    fn a_leader_is_isolated_from_one_follower_only() {
        assert_eq!(of(Kind::OneFromOne, &[0, 1, 2], 0, 1), Cuts::from([(0, 2), (2, 0)]));
    }

    #[test]
    fn all_hear_the_bridge() {
        let cuts = of(Kind::Bridge, &[0, 1, 2, 3, 4], 2, 0);
        assert_eq!(cuts.len(), 8);
        assert!(cuts.iter().all(|(from, to)| *from != 2 && *to != 2));
    }

    #[test]
    fn in_a_ring_of_five_everyone_hears_two_and_of_three_one() {
        for (count, cut) in [(5, 10), (4, 4), (3, 3), (2, 0), (1, 0)] {
            let nodes: Vec<u32> = (0..count).collect();
            assert_eq!(of(Kind::Ring, &nodes, 0, 0).len(), cut, "{count} nodes");
        }
        assert!(!of(Kind::Ring, &[0, 1, 2], 0, 0).contains(&(0, 1)));
    }

    #[test]
    fn a_node_alone_has_nobody_to_be_cut_from() {
        assert!(of(Kind::Isolate, &[0], 0, 5).is_empty());
    }
}
