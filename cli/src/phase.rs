//! One word for a cluster by the nodes' word alone, where no loop and no operator tells one. Knows no spec: what the
//! cluster is on its way to is what its map says. Pure.

use granary_operator::care;
use granary_planner::observed::{Cluster, Node};

/// Every node is heard, and every shard has all its voters, caught up, where they shall be.
pub const READY: &str = "Ready";
/// A node that was not heard for so long counts as silent, in ms.
pub const SILENT_MS: u64 = 10_000;

/// The words are those of a StorageCluster's phase, and one more. `heard`: it is known whether nodes are heard and
/// replicas caught up; else only who leads is known.
pub fn of(cluster: &Cluster, heard: bool) -> &'static str {
    let mut data = cluster.shards.iter().filter(|shard| shard.id != 0).peekable();
    if data.peek().is_none() {
        "Founding"
    } else if data.any(|shard| shard.leader.is_none()) {
        "Degraded"
    } else if !heard {
        // Every shard is led: reads and writes are served, and more cannot be told from the map.
        "Available"
    } else if cluster.nodes.iter().any(is_unwell) {
        "Degraded"
    } else if care::whole(cluster) && cluster.nodes.iter().all(|node| !node.draining) {
        READY
    } else {
        "Progressing"
    }
}

fn is_unwell(node: &Node) -> bool {
    node.read_only || node.silent_for_ms >= SILENT_MS || !node.damage.is_empty() || !node.trouble.is_empty()
}

#[cfg(test)]
mod tests {
    use granary_planner::observed::{Replica, Role, Shard};

    use super::*;

    fn shard(id: u32) -> Shard {
        let replica = |node| Replica { node, role: Role::Voter, caught_up: true };
        let replicas = (1..=3).map(replica).collect();
        Shard { id, version: 1, leader: Some(1), fresh: true, replicas, target: vec![1, 2, 3], bytes: 0 }
    }

    /// After a change.
    fn phase(heard: bool, change: impl FnOnce(&mut Cluster)) -> &'static str {
        let node = |id: u64| Node {
            id,
            name: format!("node-{}", id - 1),
            uuid: String::new(),
            draining: false,
            domains: Default::default(),
            silent_for_ms: 0,
            heard: true,
            read_only: false,
            leaders_away: false,
            damage: String::new(),
            trouble: String::new(),
        };
        let mut cluster = Cluster {
            cluster_id: "c".into(),
            map_version: 1,
            replication_factor: 3,
            shard_count: 2,
            nodes: (1..=3).map(node).collect(),
            shards: vec![shard(0), shard(1), shard(2)],
            stop_reserved: None,
        };
        change(&mut cluster);
        of(&cluster, heard)
    }

    #[test]
    fn a_cluster_that_is_well_is_ready_and_by_its_map_alone_it_is_available() {
        assert_eq!(phase(true, |_| ()), "Ready");
        assert_eq!(phase(false, |_| ()), "Available");
    }

    #[test]
    fn without_a_leader_or_a_node_or_space_it_is_degraded() {
        assert_eq!(phase(true, |cluster| cluster.shards[2].leader = None), "Degraded");
        assert_eq!(phase(false, |cluster| cluster.shards[2].leader = None), "Degraded");
        assert_eq!(phase(true, |cluster| cluster.nodes[0].silent_for_ms = SILENT_MS), "Degraded");
        assert_eq!(phase(true, |cluster| cluster.nodes[0].read_only = true), "Degraded");
    }

    #[test]
    fn while_replicas_move_or_catch_up_or_a_node_drains_it_is_on_its_way() {
        assert_eq!(phase(true, |cluster| cluster.shards[1].replicas[2].caught_up = false), "Progressing");
        assert_eq!(phase(true, |cluster| cluster.shards[1].target = vec![1, 2, 4]), "Progressing");
        assert_eq!(phase(true, |cluster| cluster.nodes[2].draining = true), "Progressing");
    }

    #[test]
    fn before_its_shards_exist_it_is_being_founded() {
        assert_eq!(phase(true, |cluster| cluster.shards.truncate(1)), "Founding");
    }
}
