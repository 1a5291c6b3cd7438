//! The leader's view: what it heard, from whom and when. Pure; time comes with each call.
//!
//! Nothing here is kept when leadership changes: a new leader knows only what it heard itself, and says since when it
//! listens, so that silence is never counted from before.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use granary_common::{NodeId, ShardId};
use granary_proto::{
    admin::{NodeLiveness, ShardLiveness},
    map::{Addresses, ClusterMap, Group},
    raft::{HeldReplica, LedShard, ReportRequest, SpentReplica},
};

/// The word of a shard's leader counts this long.
pub const FRESH: Duration = Duration::from_secs(2);
/// A node from which nothing came for this long is silent.
pub const SILENT: Duration = Duration::from_secs(10);
/// When this node itself did nothing for so long (it was stopped), it cannot blame others for silence: it listens anew.
const OWN_PAUSE: Duration = Duration::from_secs(2);

/// What one node said last.
#[derive(Clone, Debug)]
pub struct NodeWord {
    /// When it came.
    pub heard: Instant,
    /// Start of the node that said it.
    pub incarnation: u64,
    /// Where the node is reached.
    pub addresses: Option<Addresses>,
    /// It refuses writes for lack of disk space.
    pub read_only: bool,
    /// Leaders shall stay away from it.
    pub slow: bool,
    /// What does not go on there, in words; empty: nothing.
    pub trouble: String,
    /// Free bytes of its disk.
    pub disk_free_bytes: u64,
    /// All bytes of its disk.
    pub disk_total_bytes: u64,
    /// The replicas it holds.
    pub held: Vec<HeldReplica>,
    /// Replicas that its map asked of it and that it can never make.
    pub spent: Vec<SpentReplica>,
    /// What of its data is damaged, in words; empty: nothing.
    pub damage: String,
}

/// What the leader of one shard said last.
#[derive(Clone, Debug)]
struct ShardWord {
    node: NodeId,
    report: LedShard,
    /// `None`: that node has said since that it leads no more.
    heard: Option<Instant>,
}

/// A leader's word that counts now.
#[derive(Clone, Copy, Debug)]
pub struct FreshWord<'a> {
    /// The node that leads.
    pub leader: NodeId,
    /// What it said.
    pub report: &'a LedShard,
    /// Its group.
    pub group: &'a Group,
}

/// See the module. Empty while this node does not lead the meta shard.
#[derive(Debug, Default)]
pub struct View {
    leading: Option<Leading>,
}

#[derive(Debug)]
struct Leading {
    term: u64,
    since: Instant,
    last_tick: Instant,
    nodes: BTreeMap<NodeId, NodeWord>,
    shards: BTreeMap<ShardId, ShardWord>,
}

impl View {
    /// Says in which term this node leads the meta shard now, if it does. Called some times a second and before each use.
    pub fn tick(&mut self, term: Option<u64>, now: Instant) {
        let Some(term) = term else {
            self.leading = None;
            return;
        };
        match &mut self.leading {
            Some(leading) if leading.term == term && now.saturating_duration_since(leading.last_tick) < OWN_PAUSE => {
                leading.last_tick = now;
            }
            _ => {
                let (nodes, shards) = (BTreeMap::new(), BTreeMap::new());
                self.leading = Some(Leading { term, since: now, last_tick: now, nodes, shards });
            }
        }
    }

    /// Takes in what a node said. False: nothing was taken, since this node does not lead or the report is from an earlier
    /// start of its sender.
    pub fn record(&mut self, request: ReportRequest, now: Instant) -> bool {
        let (Some(leading), Some(sender)) = (&mut self.leading, request.sender) else { return false };
        let node = NodeId(sender.node_id);
        if leading.nodes.get(&node).is_some_and(|known| known.incarnation > sender.incarnation) {
            return false;
        }
        for word in leading.shards.values_mut().filter(|word| word.node == node) {
            word.heard = None;
        }
        for report in request.led {
            let shard = ShardId(report.shard_id);
            // A leader of an earlier term may not know yet that there is another.
            if leading.shards.get(&shard).is_none_or(|known| known.report.term <= report.term) {
                leading.shards.insert(shard, ShardWord { node, report, heard: Some(now) });
            }
        }
        let word = NodeWord {
            heard: now,
            incarnation: sender.incarnation,
            addresses: sender.addresses,
            read_only: request.read_only,
            slow: request.slow,
            trouble: shortened(request.trouble),
            disk_free_bytes: request.disk_free_bytes,
            disk_total_bytes: request.disk_total_bytes,
            held: request.held,
            spent: request.spent,
            damage: shortened(request.damage),
        };
        leading.nodes.insert(node, word);
        true
    }

    /// Forgets nodes and shards that are not in the map, so that the view stays as small as the map.
    pub fn retain(&mut self, map: &ClusterMap) {
        if let Some(leading) = &mut self.leading {
            leading.nodes.retain(|id, _| map.nodes.iter().any(|node| node.id == id.0));
            leading.shards.retain(|id, _| map.shards.iter().any(|shard| shard.id == id.0));
        }
    }

    /// For how long this node has led and listened; zero while it does not lead.
    pub fn leading_for(&self, now: Instant) -> Duration {
        self.leading.as_ref().map_or(Duration::ZERO, |leading| now.saturating_duration_since(leading.since))
    }

    /// What the node said last, however old.
    pub fn node(&self, node: NodeId) -> Option<&NodeWord> {
        self.leading.as_ref()?.nodes.get(&node)
    }

    /// How long the node has been silent, as far as this leader can know.
    pub fn silent_for(&self, node: NodeId, now: Instant) -> Duration {
        let heard = self.node(node).map(|word| now.saturating_duration_since(word.heard));
        heard.unwrap_or_else(|| self.leading_for(now))
    }

    /// The word of the shard's leader, when it came within [`FRESH`] and names its group.
    pub fn fresh(&self, shard: ShardId, now: Instant) -> Option<FreshWord<'_>> {
        let word = self.leading.as_ref()?.shards.get(&shard)?;
        let age = now.saturating_duration_since(word.heard?);
        let group = word.report.group.as_ref()?;
        (age < FRESH).then_some(FreshWord { leader: word.node, report: &word.report, group })
    }

    /// Who leads, for each shard whose leader's word is fresh, in order of shard.
    pub fn leaders(&self, now: Instant) -> Vec<(ShardId, NodeId)> {
        let shards = self.leading.iter().flat_map(|leading| leading.shards.keys());
        shards.filter_map(|&shard| Some((shard, self.fresh(shard, now)?.leader))).collect()
    }

    /// Nodes that were heard of late and refuse writes for lack of disk space, in order.
    pub fn read_only_nodes(&self, now: Instant) -> Vec<u64> {
        let nodes = self.leading.iter().flat_map(|leading| &leading.nodes);
        let full = nodes.filter(|(_, word)| word.read_only && now.saturating_duration_since(word.heard) < SILENT);
        full.map(|(id, _)| id.0).collect()
    }

    /// For each node of the map: whether and when it was heard, and what it said.
    pub fn node_liveness(&self, map: &ClusterMap, now: Instant) -> Vec<NodeLiveness> {
        let mut led: BTreeMap<NodeId, u32> = BTreeMap::new();
        for (_, leader) in self.leaders(now) {
            *led.entry(leader).or_default() += 1;
        }
        let liveness = |id: NodeId| {
            let silent_for_ms = millis(self.silent_for(id, now));
            let leaders = led.get(&id).copied().unwrap_or_default();
            let Some(word) = self.node(id) else {
                return NodeLiveness { node_id: id.0, silent_for_ms, leaders, ..NodeLiveness::default() };
            };
            NodeLiveness {
                node_id: id.0,
                silent_for_ms,
                heard: true,
                incarnation: word.incarnation,
                addresses: word.addresses.clone(),
                replicas: u32::try_from(word.held.len()).unwrap_or(u32::MAX),
                leaders,
                read_only: word.read_only,
                slow: word.slow,
                trouble: word.trouble.clone(),
                disk_free_bytes: word.disk_free_bytes,
                disk_total_bytes: word.disk_total_bytes,
                damage: word.damage.clone(),
            }
        };
        map.nodes.iter().map(|node| liveness(NodeId(node.id))).collect()
    }

    /// For each shard of the map: who leads it and what that one said; leader 0 and nothing else when that is not fresh.
    pub fn shard_liveness(&self, map: &ClusterMap, now: Instant) -> Vec<ShardLiveness> {
        let liveness = |shard_id: u32| match self.fresh(ShardId(shard_id), now) {
            None => ShardLiveness { shard_id, ..ShardLiveness::default() },
            Some(word) => ShardLiveness {
                shard_id,
                leader_node_id: word.leader.0,
                term: word.report.term,
                group: Some(word.group.clone()),
                progress: word.report.progress.clone(),
                bytes: word.report.bytes,
                last_index: word.report.last_index,
            },
        };
        map.shards.iter().map(|shard| liveness(shard.id)).collect()
    }
}

/// As much of what a node says of itself as is passed on.
fn shortened(text: String) -> String {
    const MAX_CHARS: usize = 500;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

/// As whole ms.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
