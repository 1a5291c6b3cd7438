//! Care: what a substrate needs to know of the cluster to look after what belongs to it, from what was seen. Pure.

use std::collections::BTreeSet;

use granary_planner::{
    observed::{Cluster, Role, Shard},
    safety::quorum_margin,
};

use crate::{
    observe::Sight,
    substrate::{Budget, Care},
};

/// See [`Care`].
pub fn care(sight: &Sight) -> Care {
    let Some(cluster) = sight.observed.cluster.fresh() else { return Care::default() };
    let member = |place| {
        let id = sight.node_at(place).filter(|_| place.disk.fresh().is_some())?;
        cluster.nodes.iter().any(|node| node.id == id).then_some((place.index, id))
    };
    Care {
        whole: whole(cluster),
        members: sight.observed.places.iter().filter_map(member).collect(),
        budget: Some(budget(cluster)),
    }
}

/// Whether the cluster has its shards, and every voter of them is where it shall be and was heard lately by its leader.
pub fn whole(cluster: &Cluster) -> bool {
    cluster.shards.len() > 1 && cluster.shards.iter().all(is_whole)
}

/// Every voter is where it shall be, and its leader has heard each of them lately.
fn is_whole(shard: &Shard) -> bool {
    let there: BTreeSet<u64> = shard.replicas.iter().map(|replica| replica.node).collect();
    shard.fresh
        && there == shard.target.iter().copied().collect()
        && shard.replicas.iter().all(|replica| replica.role == Role::Voter && replica.caught_up)
}

/// One node may be stopped while every shard can bear the loss of any one voter, and nobody stops one already.
fn budget(cluster: &Cluster) -> Budget {
    if cluster.replication_factor == 1 {
        return Budget::Unguarded;
    }
    let nodes = u32::try_from(cluster.nodes.len()).unwrap_or(u32::MAX);
    let can_bear = quorum_margin(cluster) >= 1 && cluster.stop_reserved.is_none();
    Budget::AtLeast(if can_bear { nodes.saturating_sub(1) } else { nodes })
}

#[cfg(test)]
mod tests {
    use granary_planner::observed::Replica;

    use super::*;

    fn shard(id: u32, caught_up: [bool; 3]) -> Shard {
        let replica = |(at, caught_up)| Replica { node: at + 1, role: Role::Voter, caught_up };
        let replicas = (0u64..).zip(caught_up).map(replica).collect();
        Shard { id, version: 1, leader: Some(1), fresh: true, replicas, target: vec![1, 2, 3], bytes: 0 }
    }

    fn cluster(replication_factor: u32, shards: Vec<Shard>, stop_reserved: Option<u64>) -> Cluster {
        let node = |id: u64| granary_planner::observed::Node {
            id,
            name: format!("node-{}", id - 1),
            draining: false,
            domains: Default::default(),
            silent_for_ms: 0,
            heard: true,
            read_only: false,
            leaders_away: false,
            uuid: String::new(),
            damage: String::new(),
            trouble: String::new(),
        };
        let nodes = (1..=3).map(node).collect();
        let (cluster_id, map_version, shard_count) = ("c".into(), 1, 1);
        Cluster { cluster_id, map_version, replication_factor, shard_count, nodes, shards, stop_reserved }
    }

    #[test]
    fn one_node_may_be_stopped_by_others_only_while_every_shard_can_bear_it() {
        let whole = || vec![shard(0, [true; 3]), shard(1, [true; 3])];
        let behind = vec![shard(0, [true; 3]), shard(1, [true, true, false])];
        assert_eq!(budget(&cluster(3, whole(), None)), Budget::AtLeast(2));
        assert_eq!(budget(&cluster(3, behind, None)), Budget::AtLeast(3));
        assert_eq!(budget(&cluster(3, whole(), Some(2))), Budget::AtLeast(3), "the operator stops one already");
        assert_eq!(budget(&cluster(1, whole(), None)), Budget::Unguarded);
    }

    #[test]
    fn a_shard_with_a_voter_behind_or_elsewhere_is_not_whole() {
        assert!(is_whole(&shard(1, [true; 3])));
        assert!(!is_whole(&shard(1, [true, false, true])));
        assert!(!is_whole(&Shard { target: vec![1, 2, 4], ..shard(1, [true; 3]) }));
        assert!(!is_whole(&Shard { fresh: false, ..shard(1, [true; 3]) }));
    }
}
