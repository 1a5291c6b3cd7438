//! What follows from a fresh word of the cluster: which nodes are lost, silent, draining, and how many are missing.
//! Derived once a plan and shared by all files that decide; decides nothing itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::desired::Desired;
use crate::observed::{Cluster, Disk, Node, Observed, Place, Process, Role, Shard};

/// ms of silence up to which a node counts as heard: such a node is not lost, whatever was read of its disk a moment
/// earlier (a node that just joined may still be listed with the blank disk it had).
pub(crate) const HEARD_MS: u64 = 2_000;
/// ms of silence from which a node gets nothing new, and from which the plan says so.
pub(crate) const SILENT_MS: u64 = 10_000;
/// ms of silence within which a node whose stop is reserved is expected back.
pub(crate) const BACK_MS: u64 = 30_000;
/// ms of silence for which a node may be away while its machine is being emptied, when `replace_after_ms` is less.
const CORDONED_MS: u64 = 3_600_000;

/// Why a node is lost.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    pub node: u64,
    pub why: String,
    /// ms for which its replacement could have joined already.
    pub since_ms: u64,
}

/// See the module.
pub(crate) struct View<'a> {
    pub desired: &'a Desired,
    pub observed: &'a Observed,
    pub cluster: &'a Cluster,
    /// In order of node id.
    pub lost: Vec<Lost>,
    /// Lost nodes may not be replaced: shards without a quorum, or too many.
    pub blocked: bool,
    /// The user changed what is fixed: nothing that depends on it is done.
    pub conflict: bool,
    /// Nodes that shall be there in the end.
    pub wanted: usize,
    /// Nodes that a person asked to drain and that can be spared: they stay members without replicas.
    pub parked: BTreeSet<u64>,
}

impl<'a> View<'a> {
    pub fn new(desired: &'a Desired, observed: &'a Observed, cluster: &'a Cluster) -> Self {
        let lost = find_lost(desired, observed, cluster);
        let conflict =
            desired.replication_factor != cluster.replication_factor || desired.shards != cluster.shard_count;
        let wanted =
            if conflict { cluster.nodes.len() } else { desired.replicas.max(cluster.replication_factor) as usize };
        let mut view =
            Self { desired, observed, cluster, lost, blocked: false, conflict, wanted, parked: BTreeSet::new() };
        view.parked = view.find_parked();
        view.blocked = view.too_many_lost() || !view.without_quorum().is_empty();
        view
    }

    /// Of the nodes asked to drain, those that leave enough active ones; the last of them leave when there are too many.
    fn find_parked(&self) -> BTreeSet<u64> {
        let mut active = self.active().count();
        let mut parked = BTreeSet::new();
        for node in self.cluster.nodes.iter().filter(|node| self.desired.draining.contains(&node.id)) {
            if self.is_lost(node.id) || (!node.draining && active <= self.cluster.replication_factor as usize) {
                continue;
            }
            active -= usize::from(!node.draining);
            parked.insert(node.id);
        }
        let leaving =
            self.cluster.nodes.iter().filter(|n| n.draining && !parked.contains(&n.id) && !self.is_lost(n.id));
        for _ in self.wanted + leaving.count()..self.cluster.nodes.len() - self.lost.len() {
            // A node that is not marked yet is marked first.
            let marked = |id: &&u64| self.cluster.nodes.iter().any(|node| node.id == **id && node.draining);
            let Some(last) = parked.iter().rev().find(marked).copied() else { break };
            parked.remove(&last);
        }
        parked
    }

    /// Whether more than a third of the nodes are lost.
    pub fn too_many_lost(&self) -> bool {
        self.lost.len() * 3 > self.cluster.nodes.len()
    }

    /// Shards that have no quorum without the lost nodes, with the number of their live voters and of all.
    pub fn without_quorum(&self) -> Vec<(u32, usize, usize)> {
        let shards = self.cluster.shards.iter().map(|shard| {
            let voters = shard.replicas.iter().filter(|replica| replica.role == Role::Voter);
            let (mut live, mut all) = (0, 0);
            for voter in voters {
                all += 1;
                live += usize::from(self.is_member(voter.node) && !self.is_lost(voter.node));
            }
            (shard.id, live, all)
        });
        shards.filter(|(_, live, all)| *all > 0 && *live < all / 2 + 1).collect()
    }

    /// The one lost node that is being replaced now.
    pub fn replacing(&self) -> Option<&Lost> {
        if self.blocked { None } else { self.lost.first() }
    }

    /// Whether a node is lost.
    pub fn is_lost(&self, node: u64) -> bool {
        self.lost.iter().any(|lost| lost.node == node)
    }

    /// Whether a node is in the map.
    pub fn is_member(&self, node: u64) -> bool {
        self.cluster.nodes.iter().any(|member| member.id == node)
    }

    /// Nodes that stay: neither draining nor lost.
    pub fn active(&self) -> impl Iterator<Item = &'a Node> {
        self.cluster
            .nodes
            .iter()
            .filter(|node| !node.draining && !self.parked.contains(&node.id) && !self.is_lost(node.id))
    }

    /// Nodes that give up their replicas and are not lost.
    pub fn draining(&self) -> impl Iterator<Item = &'a Node> {
        self.cluster
            .nodes
            .iter()
            .filter(|node| node.draining && !self.parked.contains(&node.id) && !self.is_lost(node.id))
    }

    /// Nodes silent long enough to get nothing new, not lost.
    pub fn silent(&self) -> impl Iterator<Item = &'a Node> {
        self.cluster.nodes.iter().filter(|node| self.is_silent(node))
    }

    /// Whether a node is heard just now, as far as the meta shard's leader can tell already.
    pub fn is_heard(&self, node: u64) -> bool {
        self.cluster.nodes.iter().any(|member| member.id == node && member.silent_for_ms <= HEARD_MS)
    }

    /// Nodes that are not heard just now, or not yet by a new leader; not lost.
    pub fn unheard(&self) -> impl Iterator<Item = &'a Node> {
        let unheard = |node: &&Node| !node.heard || node.silent_for_ms > HEARD_MS;
        self.cluster.nodes.iter().filter(unheard).filter(|node| !self.is_lost(node.id))
    }

    /// Whether a node is silent long enough to get nothing new, and not lost.
    pub fn is_silent(&self, node: &Node) -> bool {
        node.silent_for_ms >= SILENT_MS && !self.is_lost(node.id)
    }

    /// Nodes that the map lacks, when every drain were cancelled. Lost nodes that have to wait for another one's
    /// replacement count as present.
    pub fn missing(&self) -> usize {
        let later = self.lost.len() - usize::from(self.replacing().is_some());
        self.wanted.saturating_sub(self.active().count() + self.draining().count() + self.parked.len() + later)
    }

    /// Whether the map already has as many nodes as wanted, none of them lost.
    pub fn complete(&self) -> bool {
        self.missing() == 0 && self.lost.is_empty()
    }

    /// Whether a node of the map has this name.
    pub fn is_named(&self, name: &str) -> bool {
        self.cluster.nodes.iter().any(|node| node.name == name)
    }

    /// Places without a node of the map, which a new node may use, in order of index: new ones, and the one of the
    /// node that is being replaced when its disk is empty.
    pub fn free_places(&self) -> Vec<&'a Place> {
        let replaced = self.replacing().and_then(|lost| self.cluster.nodes.iter().find(|node| node.id == lost.node));
        let free = |place: &&Place| {
            let named = self.is_named(&place.name);
            let own = replaced.is_some_and(|node| node.name == place.name);
            match (&place.disk.known(), place.disk.fresh()) {
                _ if self.admitted(place).is_some() => false,
                // What is left of a disk that is gone may stand in the way of a new one: it is retired instead.
                (Some(Disk::Member { .. } | Disk::Gone), _) => false,
                (_, Some(Disk::Blank { .. })) => !named || own,
                _ => !named,
            }
        };
        self.observed.places.iter().filter(free).collect()
    }

    /// The node of the map that this blank place is to become: the cluster admitted it, and the answer was lost.
    pub fn admitted(&self, place: &Place) -> Option<&'a Node> {
        let Some(Disk::Blank { uuid: Some(uuid) }) = place.disk.fresh() else { return None };
        self.cluster.nodes.iter().find(|node| !node.uuid.is_empty() && node.uuid == *uuid)
    }

    /// Whether another operator's or person's stop of some other node is going on.
    pub fn stop_of_another(&self, node: u64) -> Option<u64> {
        self.cluster.stop_reserved.filter(|reserved| *reserved != node)
    }

    /// Replicas of data shards (targets) on each node of the map.
    pub fn loads(&self) -> BTreeMap<u64, usize> {
        let mut loads: BTreeMap<u64, usize> = self.cluster.nodes.iter().map(|node| (node.id, 0)).collect();
        for node in self.cluster.shards.iter().filter(|shard| shard.id != 0).flat_map(|shard| &shard.target) {
            *loads.entry(*node).or_default() += 1;
        }
        loads
    }
}

/// Whether the group is where its target says: same nodes, all voters, no change half done. Says nothing on freshness.
pub(crate) fn arrived(shard: &Shard) -> bool {
    let voters: BTreeSet<u64> = shard.replicas.iter().map(|replica| replica.node).collect();
    shard.replicas.iter().all(|replica| replica.role == Role::Voter)
        && shard.replicas.len() == voters.len()
        && voters == shard.target.iter().copied().collect()
}

/// Whether the shard's own leader says that it has arrived.
pub(crate) fn settled(shard: &Shard) -> bool {
    shard.fresh && arrived(shard)
}

/// ms of silence after which this node is replaced; `None`: never. While a person empties its machine the clock waits.
pub(crate) fn patience(desired: &Desired, observed: &Observed, node: &Node) -> Option<u64> {
    let limit = desired.replace_after_ms?;
    let cordoned = observed.places.iter().any(|place| place.name == node.name && place.cordoned);
    Some(if cordoned { limit.max(CORDONED_MS) } else { limit })
}

fn find_lost(desired: &Desired, observed: &Observed, cluster: &Cluster) -> Vec<Lost> {
    let why = |node: &Node| -> Option<(String, u64)> {
        if node.silent_for_ms <= HEARD_MS {
            return None;
        }
        if let Some(place) = observed.places.iter().find(|place| place.name == node.name) {
            match place.disk.fresh() {
                Some(Disk::Gone) => return Some((format!("the disk of {} is gone", place.name), node.silent_for_ms)),
                // It was admitted, and does not know it yet: it is there, and asked to join again.
                Some(Disk::Blank { uuid: Some(uuid) }) if *uuid == node.uuid => return None,
                Some(Disk::Blank { uuid: Some(_) }) => {
                    return Some((format!("the disk of {} is empty", place.name), node.silent_for_ms));
                }
                Some(Disk::Member { cluster_id, node_id })
                    if *cluster_id == cluster.cluster_id
                        && *node_id != node.id
                        && place.process.fresh() == Some(&Process::Running) =>
                {
                    return Some((format!("the disk of {} is node {node_id}'s", place.name), node.silent_for_ms));
                }
                _ => {}
            }
        }
        let limit = patience(desired, observed, node).filter(|limit| node.silent_for_ms >= *limit)?;
        let why = format!("silent for {} s, replaced after {} s", node.silent_for_ms / 1000, limit / 1000);
        Some((why, node.silent_for_ms - limit))
    };
    let lost = cluster.nodes.iter().filter_map(|node| {
        let (why, since_ms) = why(node)?;
        Some(Lost { node: node.id, why, since_ms })
    });
    lost.collect()
}
