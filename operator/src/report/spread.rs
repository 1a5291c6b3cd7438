//! Whether copies have to share a machine, which a person should know: one machine on kind, or nodes that are crowded.

use std::collections::BTreeSet;

use granary_planner::observed::Cluster;

/// What to tell, if copies of some shard cannot all be on machines of their own. Silent where machines are not known.
pub fn shared_machines(cluster: &Cluster) -> Option<String> {
    let copies = cluster.replication_factor as usize;
    let machines: BTreeSet<&str> = cluster.nodes.iter().map(|node| node.domains.machine.as_str()).collect();
    if machines.contains("") || machines.len() >= copies || cluster.nodes.len() < copies {
        return None;
    }
    Some(format!(
        "copies share a machine: {} nodes are on {} for {copies} copies, so one machine that fails takes several of them",
        cluster.nodes.len(),
        if machines.len() == 1 { "1 machine".to_owned() } else { format!("{} machines", machines.len()) }
    ))
}

#[cfg(test)]
mod tests {
    use granary_planner::observed::{Domains, Node};

    use super::*;

    fn on(machines: [&str; 3]) -> Option<String> {
        let node = |(id, machine): (u64, &str)| Node {
            id,
            name: format!("node-{}", id - 1),
            draining: false,
            domains: Domains { zone: String::new(), machine: machine.into() },
            silent_for_ms: 0,
            heard: true,
            read_only: false,
            leaders_away: false,
            uuid: String::new(),
            damage: String::new(),
            trouble: String::new(),
        };
        shared_machines(&Cluster {
            cluster_id: "c".into(),
            map_version: 1,
            replication_factor: 3,
            shard_count: 1,
            nodes: (1..).zip(machines).map(node).collect(),
            shards: Vec::new(),
            stop_reserved: None,
        })
    }

    #[test]
    fn three_copies_on_fewer_machines_are_told() {
        let told = on(["a", "a", "a"]).unwrap();
        assert!(told.starts_with("copies share a machine: 3 nodes are on 1 machine for 3 copies"), "{told}");
        assert!(on(["a", "b", "a"]).unwrap().contains("on 2 machines"));
    }

    #[test]
    fn copies_on_machines_of_their_own_or_on_unknown_ones_are_not() {
        assert_eq!(on(["a", "b", "c"]), None);
        assert_eq!(on(["", "", ""]), None);
    }
}
