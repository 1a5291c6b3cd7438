//! Who is a member: starts places, joins blank nodes, chooses who leaves, cancels drains. Moves nothing itself.
//! Which node leaves is stored in the map (`Drain`), so the choice outlives the operator.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::observed::{Disk, Node, Process};
use crate::placement;
use crate::plan::{Plan, Step, WaitingReason};
use crate::render::{count, list};
use crate::view::{HEARD_MS, View};

/// Plans joins and starts when nodes are missing, drains when there are too many.
pub(crate) fn plan(view: &View<'_>, plan: &mut Plan) {
    finish_joins(view, plan);
    park(view, plan);
    if !view.conflict {
        leave_or_stay(view, plan);
    }
    grow(view, plan);
}

/// A node that was admitted and never heard so asks again, and is told the same: without that it would count as lost for
/// ever, beside the one that it replaces.
fn finish_joins(view: &View<'_>, plan: &mut Plan) {
    for place in &view.observed.places {
        if let Some(node) = view.admitted(place) {
            let reason = format!("{} was admitted as node {}, and does not know it yet", place.name, node.id);
            plan.step(Step::Join { index: place.index }, reason);
        }
    }
}

/// Marks the nodes that a person asked to drain, or says why one cannot be spared.
fn park(view: &View<'_>, plan: &mut Plan) {
    for node in view.cluster.nodes.iter().filter(|node| view.desired.draining.contains(&node.id) && !node.draining) {
        if view.parked.contains(&node.id) {
            let load = view.loads().get(&node.id).copied().unwrap_or(0);
            plan.step(Step::Drain { node: node.id }, format!("asked for; {} to move", count(load, "replica")));
        } else if !view.is_lost(node.id) {
            let left = view.active().count().saturating_sub(1);
            let message = format!(
                "node {} shall drain, but {} would be left for {} copies",
                node.id,
                count(left, "active node"),
                view.cluster.replication_factor
            );
            plan.wait(WaitingReason::Quorum, message);
        }
    }
}

fn leave_or_stay(view: &View<'_>, plan: &mut Plan) {
    let (active, draining) = (view.active().count(), view.draining().count());
    let later = view.lost.len() - usize::from(view.replacing().is_some());
    let leaving = (active + draining + view.parked.len() + later).saturating_sub(view.wanted);
    // A node that a person asked to drain is marked in this very plan, and will be the one that leaves.
    let asked = view.cluster.nodes.iter().filter(|node| view.parked.contains(&node.id) && !node.draining).count();
    if leaving < draining {
        cancel(view, draining - leaving, plan);
    } else if leaving > draining + asked {
        if !view.lost.is_empty() {
            let message =
                format!("{} to leave when no node is lost any more", count(leaving - draining - asked, "node"));
            plan.wait(WaitingReason::Draining, message);
            return;
        }
        // A silent node may turn out to be the one too many: its replacement has joined, and why it was lost is not
        // seen in this round.
        let starting = |node: &&Node| node.silent_for_ms <= HEARD_MS && !view.runs(node) && !view.is_lost(node.id);
        let starting = view.cluster.nodes.iter().filter(starting);
        let silent: Vec<_> = view.unheard().chain(starting).map(|node| node.id).collect();
        if !silent.is_empty() {
            let message = format!(
                "{} to leave when node {} is heard again, lost, or drained by hand",
                count(leaving - draining - asked, "node"),
                list(&silent)
            );
            plan.wait(WaitingReason::Draining, message);
            forbidden(view, plan);
            return;
        }
        let mut staying: Vec<&Node> = view.active().collect();
        for _ in draining + asked..leaving {
            let Some(node) = least_needed(view, &staying) else { return };
            staying.retain(|other| other.id != node.id);
            let load = view.loads().get(&node.id).copied().unwrap_or(0);
            let reason = format!(
                "node {} leaves: {} wanted, {} there; {} to move",
                node.id,
                count(view.wanted, "node"),
                active + draining + view.parked.len(),
                count(load, "replica")
            );
            plan.step(Step::Drain { node: node.id }, reason);
        }
    }
}

/// What the quorum has to say of the node that would leave: which shard, and how many voters would be left.
fn forbidden(view: &View<'_>, plan: &mut Plan) {
    let staying: Vec<&Node> = view.active().collect();
    let Some(node) = least_needed(view, &staying) else { return };
    if let Err(reasons) = crate::safety::can_stop(view.cluster, node.id)
        && let Some((first, more)) = reasons.split_first()
    {
        let others = if more.is_empty() { String::new() } else { format!(", and {} more like it", more.len()) };
        plan.wait(WaitingReason::Quorum, format!("without node {}: {first}{others}", node.id));
    }
}

/// Cancels the drains of the nodes that still hold most, as they cost least to keep.
fn cancel(view: &View<'_>, number: usize, plan: &mut Plan) {
    let loads = view.loads();
    let load = |node: &Node| loads.get(&node.id).copied().unwrap_or(0);
    let mut draining: Vec<_> = view.draining().collect();
    draining.sort_by_key(|node| (Reverse(load(node)), node.id));
    for node in draining.into_iter().take(number) {
        let reason = format!(
            "{} wanted: node {} stays with {}",
            count(view.wanted, "node"),
            node.id,
            count(load(node), "replica")
        );
        plan.step(Step::CancelDrain { node: node.id }, reason);
    }
}

/// The node whose loss hurts the placement aims least; among equals the one with the highest index.
fn least_needed<'a>(view: &View<'_>, staying: &[&'a Node]) -> Option<&'a Node> {
    if staying.len() <= view.cluster.replication_factor as usize {
        return None;
    }
    let index =
        |node: &Node| view.observed.places.iter().find(|place| place.name == node.name).map(|place| place.index);
    let hurt = |leaving: &Node| {
        let rest: Vec<_> = staying.iter().filter(|node| node.id != leaving.id).map(|node| &node.domains).collect();
        placement::crowding(&rest, view.cluster.replication_factor as usize)
    };
    staying.iter().copied().min_by_key(|node| (hurt(node), Reverse(index(node)), Reverse(node.id)))
}

fn grow(view: &View<'_>, plan: &mut Plan) {
    let missing = view.missing();
    let free = view.free_places();
    let members = view.wanted - missing.min(view.wanted);
    let mut awaited = 0;
    for place in free.iter().take(missing) {
        let stopped = place.process.fresh() == Some(&Process::Stopped);
        let named = view.cluster.nodes.iter().any(|node| node.name == place.name);
        match place.disk.fresh() {
            _ if stopped && !named => {
                let (step, short) = (Step::StartNode { index: place.index }, count(missing, "node"));
                // One whose disk is not known is started for that alone.
                if !plan.steps.iter().any(|planned| planned.step == step) {
                    plan.step(step, format!("the process of {} is stopped, and {short} short", place.name));
                }
                awaited += 1;
            }
            Some(Disk::Blank { uuid: Some(_) }) => {
                let reason = match view.replacing() {
                    Some(lost) => format!("a new node at {} replaces node {}: {}", place.name, lost.node, lost.why),
                    None => format!("{} wanted, {members} there: {} joins", count(view.wanted, "node"), place.name),
                };
                plan.step(Step::Join { index: place.index }, reason);
            }
            _ => awaited += 1,
        }
    }
    let places = view.observed.places.iter().map(|place| place.index);
    let mut used: BTreeSet<u32> = places.chain(view.observed.taken.iter().copied()).collect();
    for _ in free.len()..missing {
        let Some(index) = (0..=u32::MAX).find(|index| !used.contains(index)) else { return };
        used.insert(index);
        let reason = match view.replacing() {
            Some(lost) => format!("a new place, as node {} is lost: {}", lost.node, lost.why),
            None => format!("{} wanted, {members} there", count(view.wanted, "node")),
        };
        plan.step(Step::StartNode { index }, reason);
        awaited += 1;
    }
    if awaited > 0 {
        let message =
            format!("{} to come up and answer, {members} of {} are members", count(awaited, "node"), view.wanted);
        plan.wait(WaitingReason::NodesStarting, message);
    }
}
