//! Evens out leaders once no replica has to move, by the fewest transfers, to voters that have caught up. Moves no
//! replica, and leaves leaders where they are while a node is only away for a while: each transfer interrupts writes.

use std::collections::BTreeMap;

use crate::bootstrap::scale_changes;
use crate::even::{Bin, Item, Kind, even};
use crate::observed::{Node, Role, Shard};
use crate::plan::{Plan, Step, WaitingReason};
use crate::render::{count, list};
use crate::view::{View, settled};
use crate::way::kind;

/// Most leaders moved by one plan.
pub const MAX_TRANSFERS: usize = 32;

/// Plans transfers.
pub(crate) fn plan(view: &View<'_>, plan: &mut Plan) {
    let moving = plan.steps.iter().any(|planned| matches!(planned.step, Step::Reconfigure { .. }));
    let away = view.silent().next().is_some() || view.cluster.nodes.iter().any(|node| node.leaders_away);
    let stops = view.cluster.stop_reserved.is_some() || !view.to_restart().is_empty();
    let busy = moving || away || stops || scale_changes(plan) || !view.complete() || view.draining().next().is_some();
    if busy || view.conflict || view.cluster.shards.iter().any(|shard| !settled(shard)) {
        return;
    }
    let nodes: Vec<&Node> = view.cluster.nodes.iter().collect();
    let shards: Vec<&Shard> = view.cluster.shards.iter().filter(|shard| shard.id != 0).collect();
    let goals = goals(view, &nodes, &shards, true);
    let goal = |at: usize| goals[at].first().map(|bin| nodes[*bin].id);
    let mut transfers: Vec<(u32, u64)> = shards
        .iter()
        .enumerate()
        .filter_map(|(at, shard)| Some((shard.id, goal(at).filter(|node| Some(*node) != shard.leader)?)))
        .collect();
    let total = transfers.len();
    transfers.truncate(MAX_TRANSFERS);
    if transfers.is_empty() {
        let behind = shards.iter().filter(|shard| shard.replicas.iter().any(|replica| !replica.caught_up)).count();
        if behind > 0 && self::goals(view, &nodes, &shards, false) != goals {
            let message =
                format!("{} of which a voter has to catch up before leaders are even", count(behind, "shard"));
            plan.wait(WaitingReason::Electing, message);
        }
        return;
    }
    let led = |node: &Node| shards.iter().filter(|shard| shard.leader == Some(node.id)).count();
    let counts: Vec<_> = nodes.iter().map(|node| format!("{} on node {}", led(node), node.id)).collect();
    let reason = format!("uneven leaders ({}): {} of {total} to move now", list(&counts), transfers.len());
    plan.step(Step::TransferLeaders { transfers }, reason);
}

/// The best leader of each shard among its voters, or among those that have caught up; as places in `nodes`.
fn goals(view: &View<'_>, nodes: &[&Node], shards: &[&Shard], only_caught_up: bool) -> Vec<Vec<usize>> {
    let at: BTreeMap<u64, usize> = nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect();
    // Failure domains mean nothing for a single leader: each node is its own.
    let bin = |(at, node): (usize, &&Node)| {
        let able = matches!(kind(view, node), Kind::Open | Kind::Shed);
        Bin { kind: if able { Kind::Open } else { Kind::Leave }, machine: at, zone: at }
    };
    let bins: Vec<Bin> = nodes.iter().enumerate().map(bin).collect();
    let item = |shard: &&Shard| {
        let voters = shard.replicas.iter().filter(|replica| replica.role == Role::Voter);
        let may = voters.filter(|voter| voter.caught_up || !only_caught_up);
        let leader: Vec<usize> = shard.leader.iter().filter_map(|leader| at.get(leader).copied()).collect();
        let may = may.filter_map(|voter| at.get(&voter.node).copied()).collect();
        Item { bins: leader, home: Vec::new(), may, rather: None }
    };
    even(&bins, shards.iter().map(item).collect())
}
