//! Moves replicas off nodes that are lost or leave, then evens out counts, then leaders. Each round it plans the whole
//! way and takes the first part of it, so the rest of the way stays the shortest one. Chooses no members.

use std::collections::BTreeMap;

use crate::bootstrap::scale_changes;
use crate::even::{Bin, Item, Kind, even};
use crate::observed::{Node, Role, Shard};
use crate::placement;
use crate::plan::{Move, Plan, Step, WaitingReason};
use crate::render::{count, list};
use crate::view::{SILENT_MS, View, arrived, settled};

/// Most shards with a target that their replicas have not reached, at any time: bounds the copying that foreground
/// work has to bear, and how far a plan is ahead of what was seen.
pub const MAX_MOVES_IN_FLIGHT: usize = 8;
/// Most leaders moved by one plan.
pub const MAX_TRANSFERS: usize = 32;
/// ms for which a replacement is awaited before the replicas of a lost node go to the nodes that are there.
const JOIN_GRACE_MS: u64 = 60_000;

/// Why a shard moves, most urgent first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Lost,
    Draining,
    Balance,
}

/// Plans new targets, as many as may be in flight.
pub(crate) fn replicas(view: &View<'_>, plan: &mut Plan) {
    let shards = &view.cluster.shards;
    let flying: Vec<u32> = shards.iter().filter(|shard| !arrived(shard)).map(|shard| shard.id).collect();
    let wanted = wanted_moves(view);
    let (movable, later): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(cause, _)| allowed(view, plan, *cause));
    let most_urgent = movable.iter().map(|(cause, _)| *cause).min();
    let mut room = MAX_MOVES_IN_FLIGHT.saturating_sub(flying.len());
    let total = movable.len();
    let mut moves = Vec::new();
    for (cause, change) in movable {
        // Nothing is evened out while a lost or leaving node still holds something.
        if cause == Cause::Balance && most_urgent != Some(Cause::Balance) {
            continue;
        }
        let counted = !flying.contains(&change.shard);
        if counted && room == 0 {
            continue;
        }
        room -= usize::from(counted);
        moves.push(change);
    }
    let left = total - moves.len() + later.len();
    if !moves.is_empty() {
        let reason = reason(view, most_urgent, moves.len(), total);
        plan.step(Step::Reconfigure { moves }, reason);
    }
    if !flying.is_empty() || left > 0 {
        let message = format!(
            "{} of at most {MAX_MOVES_IN_FLIGHT} being moved ({}); {left} to follow",
            count(flying.len(), "shard"),
            list(&flying)
        );
        plan.wait(WaitingReason::Moving, message.replace(" ()", ""));
    }
}

fn reason(view: &View<'_>, cause: Option<Cause>, now: usize, total: usize) -> String {
    let numbers = format!("{now} of {} to move now", count(total, "shard"));
    let leaving: Vec<String> = match cause {
        Some(Cause::Lost) => {
            view.replacing().iter().map(|lost| format!("node {} is lost ({})", lost.node, lost.why)).collect()
        }
        Some(Cause::Draining) => {
            let loads = view.loads();
            let leaves = |node: &Node| {
                let load = loads.get(&node.id).copied().unwrap_or(0);
                format!("node {} leaves: {} to move", node.id, count(load, "replica"))
            };
            view.draining().map(leaves).collect()
        }
        Some(Cause::Balance) | None => {
            let loads = view.loads();
            let loads: Vec<_> = loads.iter().map(|(node, load)| format!("{load} on node {node}")).collect();
            return format!("uneven replicas ({}): {numbers}", list(&loads));
        }
    };
    format!("{}; {numbers}", list(&leaving))
}

/// Whether moves for this cause may begin now.
fn allowed(view: &View<'_>, plan: &Plan, cause: Cause) -> bool {
    match cause {
        // Repair waits a little for the new node, so that nothing moves twice, but never for ever.
        Cause::Lost => view.missing() == 0 || view.replacing().is_some_and(|lost| lost.since_ms >= JOIN_GRACE_MS),
        Cause::Draining => !scale_changes(plan),
        Cause::Balance => !view.conflict && view.complete() && !scale_changes(plan) && view.silent().next().is_none(),
    }
}

fn kind(view: &View<'_>, node: &Node) -> Kind {
    if view.is_lost(node.id) {
        let now = view.replacing().is_some_and(|lost| lost.node == node.id);
        if now { Kind::Leave } else { Kind::Hold }
    } else if node.draining {
        Kind::Leave
    } else if node.silent_for_ms >= SILENT_MS {
        Kind::Hold
    } else if node.read_only {
        Kind::Shed
    } else {
        Kind::Open
    }
}

/// All moves of the shortest way to where everything shall be, most urgent first.
fn wanted_moves(view: &View<'_>) -> Vec<(Cause, Move)> {
    let nodes: Vec<&Node> = view.cluster.nodes.iter().collect();
    let bins = placement::bins(&nodes, |node| kind(view, node));
    let at: BTreeMap<u64, usize> = nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect();
    let positions = |shard: &Shard| shard.target.iter().filter_map(|node| at.get(node).copied()).collect::<Vec<_>>();
    let cause = |shard: &Shard| {
        let leaves = |node: &u64| at.get(node).is_none_or(|at| bins[*at].kind == Kind::Leave);
        if view.replacing().is_some_and(|lost| shard.target.contains(&lost.node)) {
            Cause::Lost
        } else if shard.target.iter().any(leaves) {
            Cause::Draining
        } else {
            Cause::Balance
        }
    };
    // A shard on its way goes on, unless it can never arrive: a node of its target is lost.
    let may_move =
        |shard: &Shard| shard.leader.is_some() && shard.fresh && (settled(shard) || cause(shard) == Cause::Lost);

    let data: Vec<&Shard> = view.cluster.shards.iter().filter(|shard| shard.id != 0).collect();
    let item =
        |shard: &&Shard| Item { bins: positions(shard), may: (0..bins.len()).collect(), fixed: !may_move(shard) };
    let mut goals = even(&bins, data.iter().map(item).collect());
    let mut shards = data;
    if let Some(meta) = view.cluster.shards.first().filter(|shard| shard.id == 0 && may_move(shard)) {
        let loads = view.loads();
        let loads: Vec<usize> = nodes.iter().map(|node| loads.get(&node.id).copied().unwrap_or(0)).collect();
        shards.insert(0, meta);
        goals.insert(0, placement::meta(&bins, &positions(meta), &loads));
    }
    let mut moves = Vec::new();
    for (shard, goal) in shards.into_iter().zip(goals) {
        let mut goal: Vec<u64> = goal.into_iter().map(|bin| nodes[bin].id).collect();
        keep_one(shard, &mut goal);
        let added = placement::added(&shard.target, &goal);
        if added > 0 && goal.len() == shard.target.len() {
            let bytes = shard.bytes.saturating_mul(added as u64);
            let change = Move { shard: shard.id, nodes: goal, expected_version: shard.version, bytes };
            moves.push((cause(shard), change));
        }
    }
    moves.sort_by_key(|(cause, change)| (*cause, change.shard));
    moves
}

/// A shard with several copies never gives up every caught-up one in one move: its leader's stays for the next.
fn keep_one(shard: &Shard, goal: &mut [u64]) {
    let stays = shard.replicas.iter().any(|replica| replica.caught_up && goal.contains(&replica.node));
    let leader = shard.target.iter().position(|node| Some(*node) == shard.leader);
    if let Some(at) = leader.filter(|at| !stays && goal.len() > 1 && *at < goal.len()) {
        goal[at] = shard.target[at];
    }
}

/// Evens out leaders once no replica has to move, by the fewest transfers, to voters that have caught up.
pub(crate) fn leaders(view: &View<'_>, plan: &mut Plan) {
    let moving = plan.steps.iter().any(|planned| matches!(planned.step, Step::Reconfigure { .. }));
    let shards: Vec<&Shard> = view.cluster.shards.iter().filter(|shard| shard.id != 0).collect();
    let busy = moving || scale_changes(plan) || !view.complete() || view.draining().next().is_some();
    if busy || view.conflict || view.cluster.shards.iter().any(|shard| !settled(shard)) {
        return;
    }
    let nodes: Vec<&Node> = view.cluster.nodes.iter().collect();
    let able = |node: &Node| kind(view, node) != Kind::Hold && kind(view, node) != Kind::Leave && !node.leaders_away;
    let kinds = nodes.iter().enumerate();
    let bins: Vec<Bin> = kinds
        .map(|(at, node)| Bin { kind: if able(node) { Kind::Open } else { Kind::Leave }, machine: at, zone: at })
        .collect();
    let at: BTreeMap<u64, usize> = nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect();
    let items = |only_caught_up: bool| -> Vec<Item> {
        let item = |shard: &&Shard| {
            let voters = shard.replicas.iter().filter(|replica| replica.role == Role::Voter);
            let may = voters.filter(|voter| voter.caught_up || !only_caught_up);
            Item {
                bins: shard.leader.iter().filter_map(|leader| at.get(leader).copied()).collect(),
                may: may.filter_map(|voter| at.get(&voter.node).copied()).collect(),
                fixed: shard.leader.is_none(),
            }
        };
        shards.iter().map(item).collect()
    };
    let goals = even(&bins, items(true));
    let mut transfers = Vec::new();
    for (shard, goal) in shards.iter().zip(&goals) {
        if let Some(node) = goal.first().map(|bin| nodes[*bin].id).filter(|node| Some(*node) != shard.leader) {
            transfers.push((shard.id, node));
        }
    }
    let total = transfers.len();
    transfers.truncate(MAX_TRANSFERS);
    if transfers.is_empty() {
        let behind = shards.iter().filter(|shard| shard.replicas.iter().any(|replica| !replica.caught_up)).count();
        let better = behind > 0 && even(&bins, items(false)) != goals;
        if better {
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
