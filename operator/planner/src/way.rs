//! The shortest way to where all replicas shall be, and of it the next step of each shard: one replica for another.
//!
//! Each round looks at the whole way anew, shards under a change included, so that what is taken of it never makes the
//! rest longer. A shard changes one replica at a time: the copies that stay carry its quorum meanwhile. Does not know
//! how much may be done at once.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::even::{Bin, Item, Kind, even};
use crate::observed::{Node, Role, Shard};
use crate::placement;
use crate::plan::Move;
use crate::view::{View, settled};

/// Why a shard moves, most urgent first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// A replica is on the lost node that is being replaced.
    Lost,
    /// A replica is on a node that drains.
    Leave,
    /// Counts or failure domains.
    Balance,
}

/// The next move of one shard.
pub(crate) struct Wanted {
    pub cause: Cause,
    pub change: Move,
    /// Why it cannot begin: too few voters have caught up to carry the change.
    pub blocked: Option<String>,
}

/// See the module.
pub(crate) struct Way {
    /// Shards that can move now, or could if they had a quorum; most urgent first.
    pub wanted: Vec<Wanted>,
    /// Replicas that get another node on the whole way.
    pub replicas: usize,
}

struct Map<'a> {
    view: &'a View<'a>,
    nodes: Vec<&'a Node>,
    bins: Vec<Bin>,
    at: BTreeMap<u64, usize>,
}

impl Way {
    pub fn new(view: &View<'_>) -> Self {
        let nodes: Vec<&Node> = view.cluster.nodes.iter().collect();
        let map = Map {
            view,
            bins: placement::bins(&nodes, |node| kind(view, node)),
            at: nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect(),
            nodes,
        };
        let mut way = Self { wanted: Vec::new(), replicas: 0 };
        for (shard, goal) in map.goals() {
            let (outs, ins) = (without(&shard.target, &goal), without(&goal, &shard.target));
            if outs.is_empty() || outs.len() != ins.len() {
                continue;
            }
            way.replicas += ins.len();
            way.wanted.extend(map.next(shard, &outs, &ins));
        }
        way.wanted.sort_by_key(|wanted| (wanted.cause, wanted.change.shard));
        way
    }
}

impl<'a> Map<'a> {
    /// Where each shard shall be in the end.
    fn goals(&self) -> Vec<(&'a Shard, Vec<u64>)> {
        let ids = |bins: Vec<usize>| bins.into_iter().map(|bin| self.nodes[bin].id).collect();
        let data: Vec<&Shard> = self.view.cluster.shards.iter().filter(|shard| shard.id != 0).collect();
        let spread = even(&self.bins, data.iter().map(|shard| self.item(shard)).collect());
        let mut goals: Vec<_> = data.into_iter().zip(spread).map(|(shard, bins)| (shard, ids(bins))).collect();
        if let Some(meta) = self.view.cluster.shards.first().filter(|shard| shard.id == 0) {
            let loads = self.view.loads();
            let loads: Vec<usize> = self.nodes.iter().map(|node| loads.get(&node.id).copied().unwrap_or(0)).collect();
            goals.insert(0, (meta, ids(placement::meta(&self.bins, self.item(meta), &loads))));
        }
        goals
    }

    fn item(&self, shard: &Shard) -> Item {
        let able = shard.fresh && shard.leader.is_some();
        let voters = shard.replicas.iter().filter(|r| able && r.role == Role::Voter).map(|replica| replica.node);
        let at = |node: u64| self.at.get(&node).copied();
        Item {
            bins: shard.target.iter().copied().filter_map(at).collect(),
            // Going back to where a copy still is moves no data.
            home: voters.filter_map(at).collect(),
            may: (0..self.bins.len()).collect(),
            rather: shard.leader.and_then(at),
        }
    }

    /// A shard under a change goes on with it, unless that cannot end (the node is lost) or is in vain (there is no voter
    /// yet on the node, and it shall be left again, or the way back costs nothing).
    fn turns(&self, shard: &Shard, (out, new): (u64, u64)) -> bool {
        let voter = |node: u64| shard.replicas.iter().any(|r| r.node == node && r.role == Role::Voter);
        self.cause(out) == Cause::Lost || !voter(out) && (self.must_leave(out) || voter(new))
    }

    fn must_leave(&self, node: u64) -> bool {
        self.at.get(&node).is_none_or(|at| self.bins[*at].kind == Kind::Leave)
    }

    fn cause(&self, node: u64) -> Cause {
        if self.view.replacing().is_some_and(|lost| lost.node == node) {
            Cause::Lost
        } else if self.must_leave(node) {
            Cause::Leave
        } else {
            Cause::Balance
        }
    }

    /// One replica for another: the most urgent to leave, and the best of the new nodes beside those that stay. Of a
    /// shard under a change only what `turns` allows.
    fn next(&self, shard: &Shard, outs: &[u64], ins: &[u64]) -> Option<Wanted> {
        if !shard.fresh || shard.leader.is_none() {
            return None;
        }
        let replica = |node: u64| shard.replicas.iter().find(|replica| replica.node == node);
        let caught_up = |node: u64| replica(node).is_some_and(|r| r.caught_up && r.role == Role::Voter);
        let crowd = |(out, new): &(u64, u64)| {
            let bin = |node: u64| self.at.get(&node).map(|at| self.bins[*at]);
            let shared = |of: fn(Bin) -> usize| {
                let others = shard.target.iter().filter(|other| **other != *out);
                others.filter(|other| bin(**other).map(of) == bin(*new).map(of)).count()
            };
            (shared(|bin| bin.machine), shared(|bin| bin.zone), replica(*new).is_none())
        };
        let pairs = outs.iter().flat_map(|out| ins.iter().map(|new| (*out, *new)));
        let rank =
            |pair: &(u64, u64)| (self.cause(pair.0), caught_up(pair.0), shard.leader == Some(pair.0), crowd(pair));
        let (out, new) = pairs.filter(|pair| settled(shard) || self.turns(shard, *pair)).min_by_key(rank)?;
        let mut nodes: Vec<u64> = shard.target.iter().copied().filter(|node| *node != out).collect();
        // The leader goes on to lead; the new one is the last to be asked.
        nodes.sort_by_key(|node| Reverse(shard.leader == Some(*node)));
        nodes.push(new);

        let bytes = if replica(new).is_some() { 0 } else { shard.bytes };
        let change = Move { shard: shard.id, nodes, expected_version: shard.version, bytes };
        Some(Wanted { cause: self.cause(out), blocked: blocked(shard, &change.nodes, caught_up), change })
    }
}

/// Whether too few voters have caught up: now, or of the new target once its new node has.
fn blocked(shard: &Shard, nodes: &[u64], caught_up: impl Fn(u64) -> bool) -> Option<String> {
    let voters: Vec<_> = shard.replicas.iter().filter(|r| r.role == Role::Voter).map(|r| r.node).collect();
    let now = voters.iter().filter(|node| caught_up(**node)).count();
    let quorum = voters.len() / 2 + 1;
    if now < quorum {
        return Some(format!("shard {} has {now} of {} caught-up voters and needs {quorum}", shard.id, voters.len()));
    }
    let stay = nodes.iter().filter(|node| caught_up(**node)).count();
    let (then, quorum) = (stay + 1, nodes.len() / 2 + 1);
    if then < quorum || (stay == 0 && nodes.len() > 1) {
        return Some(format!("shard {} would keep {stay} of {} caught-up voters", shard.id, voters.len()));
    }
    None
}

/// What a node may do with replicas.
pub(crate) fn kind(view: &View<'_>, node: &Node) -> Kind {
    if view.is_lost(node.id) {
        let now = view.replacing().is_some_and(|lost| lost.node == node.id);
        if now { Kind::Leave } else { Kind::Hold }
    } else if node.draining {
        Kind::Leave
    } else if view.is_silent(node) || view.cluster.stop_reserved == Some(node.id) {
        Kind::Hold
    } else if node.read_only {
        Kind::Shed
    } else {
        Kind::Open
    }
}

fn without(nodes: &[u64], others: &[u64]) -> Vec<u64> {
    nodes.iter().copied().filter(|node| !others.contains(node)).collect()
}
