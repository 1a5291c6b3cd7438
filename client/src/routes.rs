//! A snapshot of where everything is: which shard owns a slot, which nodes have its replicas, who leads it.
//!
//! All of it is a hint. The shards themselves check who may answer.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use granary_common::SlotRange;
use granary_proto::map::{self, ClusterMap, ReplicaRole};
use tokio::sync::{Notify, Semaphore};

use crate::{link::Link, unanswered::Unanswered};

/// Requests that look for the leader of one shard at a time; the others wait for what these find.
const PROBES: usize = 4;

/// A snapshot of where everything is.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// Of the map.
    pub(crate) version: u64,
    /// Of the map.
    pub(crate) cluster_id: String,
    /// Data shards in order of their slots.
    shards: Vec<Arc<Shard>>,
    by_id: HashMap<u32, usize>,
    /// Of each shard that was ever known, also when this map says nothing useful of it: the numbers of its writes must
    /// never begin anew. At most as many as a cluster has shards.
    memories: HashMap<u32, Arc<Memory>>,
    links: HashMap<u64, Arc<Link>>,
}

/// One shard of a snapshot.
#[derive(Debug)]
pub(crate) struct Shard {
    /// From 1 up.
    pub(crate) id: u32,
    /// The slots that it owns.
    pub(crate) range: SlotRange,
    /// Nodes with a replica; at least one.
    pub(crate) nodes: Vec<u64>,
    /// What outlives the snapshot.
    pub(crate) memory: Arc<Memory>,
}

/// What the client knows of a shard beyond the map; handed from snapshot to snapshot.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Node id; 0: unknown.
    leader: AtomicU64,
    /// Signalled when a leader becomes known.
    pub(crate) learned: Notify,
    /// Who may look for the leader.
    pub(crate) probes: Semaphore,
    turn: AtomicUsize,
    /// This client's writes to the shard.
    pub(crate) unanswered: Unanswered,
}

impl Memory {
    fn new() -> Self {
        Self {
            leader: AtomicU64::new(0),
            learned: Notify::new(),
            probes: Semaphore::new(PROBES),
            turn: AtomicUsize::new(0),
            unanswered: Unanswered::new(),
        }
    }

    /// The node that leads, as far as is known.
    pub(crate) fn leader(&self) -> Option<u64> {
        Some(self.leader.load(Ordering::Relaxed)).filter(|&node| node != 0)
    }

    /// `node` leads, or is said to.
    pub(crate) fn learn(&self, node: u64) {
        if self.leader.load(Ordering::Relaxed) != node {
            self.leader.store(node, Ordering::Relaxed);
            self.learned.notify_waiters();
        }
    }

    /// `node` does not lead. What was learned about another one stays.
    pub(crate) fn forget(&self, node: u64) {
        let _ = self.leader.compare_exchange(node, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Takes the word of a third party, if nothing better is known.
    pub(crate) fn suggest(&self, node: u64) {
        if self.leader.compare_exchange(0, node, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.learned.notify_waiters();
        }
    }
}

impl Routes {
    /// From a map; `link` gives the way to an address. Keeps what `before` remembers of the shards.
    pub(crate) fn new(map: &ClusterMap, before: &Self, mut link: impl FnMut(&str) -> Arc<Link>) -> Self {
        let links: HashMap<u64, Arc<Link>> = map
            .nodes
            .iter()
            .filter_map(|node| Some((node.id, link(&node.addresses.as_ref()?.kv))))
            .filter(|(_, link)| !link.address.is_empty())
            .collect();
        let mut memories = before.memories.clone();
        let mut shards: Vec<_> = map.shards.iter().filter_map(|shard| shard_of(shard, &mut memories)).collect();
        shards.sort_by_key(|shard| shard.range.start);
        let by_id = shards.iter().enumerate().map(|(place, shard)| (shard.id, place)).collect();
        Self { version: map.version, cluster_id: map.cluster_id.clone(), shards, by_id, memories, links }
    }

    /// The shard that owns `slot`.
    pub(crate) fn owner(&self, slot: u16) -> Option<&Arc<Shard>> {
        let behind = self.shards.partition_point(|shard| shard.range.start <= slot);
        self.shards[..behind].last().filter(|shard| shard.range.contains(slot))
    }

    /// The shard with this id.
    pub(crate) fn shard(&self, id: u32) -> Option<&Arc<Shard>> {
        self.by_id.get(&id).map(|&place| &self.shards[place])
    }

    /// Data shards in order of their slots.
    pub(crate) fn shards(&self) -> &[Arc<Shard>] {
        &self.shards
    }

    /// The way to a node.
    pub(crate) fn link(&self, node: u64) -> Option<&Arc<Link>> {
        self.links.get(&node)
    }

    /// The ways to all nodes.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.links.values()
    }

    /// A replica's node for a read that any may answer: each in turn, those that did not just fail first.
    pub(crate) fn next_replica(&self, shard: &Shard) -> Option<(u64, Arc<Link>)> {
        let turn = shard.memory.turn.fetch_add(1, Ordering::Relaxed);
        self.in_turn(shard, turn).min_by_key(|(_, link)| link.is_suspect())
    }

    /// The node to ask for the leader after `tried` others: first those with an open stream, from the `turn`th on, at the
    /// end those that just failed. A node that went away a moment ago may not even refuse a connection.
    pub(crate) fn probe(&self, shard: &Shard, turn: usize, tried: usize) -> Option<(u64, Arc<Link>)> {
        let mut nodes: Vec<_> = self.in_turn(shard, turn).collect();
        nodes.sort_by_key(|(_, link)| (link.is_suspect(), !link.is_open()));
        let next = tried % nodes.len().max(1);
        nodes.into_iter().nth(next)
    }

    fn in_turn(&self, shard: &Shard, turn: usize) -> impl Iterator<Item = (u64, Arc<Link>)> {
        (0..shard.nodes.len()).filter_map(move |offset| {
            let node = shard.nodes[turn.wrapping_add(offset) % shard.nodes.len()];
            self.links.get(&node).map(|link| (node, link.clone()))
        })
    }
}

/// What a map says of one shard; nothing while it names no replica that answers.
fn shard_of(shard: &map::Shard, memories: &mut HashMap<u32, Arc<Memory>>) -> Option<Arc<Shard>> {
    let range = shard.range.as_ref()?;
    let (start, end) = (u16::try_from(range.start).ok()?, u16::try_from(range.end).ok()?);
    let range = SlotRange { start, end };
    if range.is_empty() {
        return None;
    }
    // Where the replicas are; before the group reported that, where they shall be.
    let group = shard.group.as_ref().map(|group| &group.replicas).filter(|replicas| !replicas.is_empty());
    let replicas = group.or_else(|| shard.target.as_ref().map(|target| &target.replicas))?;
    let learner = i32::from(ReplicaRole::Learner);
    let nodes: Vec<u64> = replicas.iter().filter(|r| r.role != learner).map(|r| r.node_id).collect();
    if nodes.is_empty() {
        return None;
    }
    let memory = memories.entry(shard.id).or_insert_with(|| Arc::new(Memory::new())).clone();
    Some(Arc::new(Shard { id: shard.id, range, nodes, memory }))
}
