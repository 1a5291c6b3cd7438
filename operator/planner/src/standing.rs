//! How each member stands: where it runs, whether it is heard, and whether its replicas have caught up. Facts only, from
//! the cluster's word and the substrate's; decides nothing.

use crate::observed::{Disk, Node, Place, Process, Role};
use crate::render::{count, list};
use crate::view::{HEARD_MS, SILENT_MS, View};

/// How a member stands, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Not heard for [`SILENT_MS`].
    Silent,
    /// Not heard just now, or its process is not known to run.
    Down,
    /// Heard; a shard it votes in is behind, or has no leader that says so.
    Behind,
    /// Heard, and caught up wherever it votes.
    Well,
}

impl<'a> View<'a> {
    /// The member that runs at this place, by what its disk says; where it says nothing, by name.
    pub fn member_at(&self, place: &Place) -> Option<&'a Node> {
        let mut namesakes = self.cluster.nodes.iter().filter(|node| node.name == place.name);
        let (named, other) = (namesakes.next(), namesakes.next());
        match (place.disk.known(), place.disk.fresh()) {
            (Some(Disk::Member { cluster_id, node_id }), _) => {
                let ours = *cluster_id == self.cluster.cluster_id;
                self.cluster.nodes.iter().find(|node| ours && node.id == *node_id)
            }
            // A node that has just joined may still be listed with the empty disk it had.
            (_, Some(Disk::Blank { .. } | Disk::Gone)) => named.filter(|node| node.silent_for_ms <= HEARD_MS),
            // A lost node and the one that replaces it there: only the disk tells which.
            _ => named.filter(|_| other.is_none()),
        }
    }

    /// The place where a member runs.
    pub fn place_of(&self, node: u64) -> Option<&'a Place> {
        self.observed.places.iter().find(|place| self.member_at(place).is_some_and(|member| member.id == node))
    }

    /// "node 2 (node-1)".
    pub fn named(&self, node: u64) -> String {
        let name = self.cluster.nodes.iter().find(|member| member.id == node).map(|member| &member.name);
        name.map_or_else(|| format!("node {node}"), |name| format!("node {node} ({name})"))
    }

    /// Whether it gives up its replicas to leave, rather than to stay as a person asked.
    pub fn leaves(&self, node: &Node) -> bool {
        node.draining && !self.parked.contains(&node.id)
    }

    /// Members that run and are to be started anew, with their places; those that leave are not.
    pub fn to_restart(&self) -> Vec<(&'a Place, &'a Node)> {
        let asked = |place: &&Place| place.restart.is_some() && place.process.fresh() == Some(&Process::Running);
        let members = self.observed.places.iter().filter(asked).filter_map(|p| Some((p, self.member_at(p)?)));
        members.filter(|(_, node)| !self.leaves(node)).collect()
    }

    /// See [`Standing`].
    pub fn standing(&self, node: &Node) -> Standing {
        if node.silent_for_ms >= SILENT_MS {
            Standing::Silent
        } else if node.silent_for_ms > HEARD_MS || !node.heard || !self.runs(node) {
            Standing::Down
        } else if self.behind(node).next().is_some() {
            Standing::Behind
        } else {
            Standing::Well
        }
    }

    /// Whether its process runs; by the cluster's word alone where the substrate has no place for it.
    pub fn runs(&self, node: &Node) -> bool {
        self.place_of(node.id).is_none_or(|place| place.process.fresh() == Some(&Process::Running))
    }

    /// Shards in which it votes and is not known to have caught up.
    fn behind(&self, node: &Node) -> impl Iterator<Item = u32> {
        let id = node.id;
        let votes = move |role: Role| role != Role::Learner;
        let shards = self.cluster.shards.iter().filter(move |shard| {
            let own = shard.replicas.iter().find(|replica| replica.node == id && votes(replica.role));
            own.is_some_and(|own| !shard.fresh || !own.caught_up)
        });
        shards.map(|shard| shard.id)
    }

    /// Why it is not well, in words.
    pub fn ails(&self, node: &Node) -> String {
        let named = self.named(node.id);
        match self.standing(node) {
            Standing::Silent => format!("{named} is not heard for {} s", node.silent_for_ms / 1000),
            Standing::Down => match self.place_of(node.id).map(|place| &place.process) {
                Some(process) if process.fresh() == Some(&Process::Starting) => format!("{named} is starting"),
                Some(process) if process.fresh() == Some(&Process::Stopped) => format!("{named} is stopped"),
                Some(process) if process.fresh().is_none() => format!("it is not known whether {named} runs"),
                _ => format!("{named} is not heard just now"),
            },
            Standing::Behind => {
                let behind: Vec<u32> = self.behind(node).collect();
                format!("{named} has to catch up in {}: {}", count(behind.len(), "shard"), list(&behind))
            }
            Standing::Well => format!("{named} is well"),
        }
    }
}
