//! Which of the moves that `way` names may begin now: lost nodes first, then nodes that leave, then evenness, and never
//! more than a bounded number at once. Chooses neither members nor where a replica goes.

use crate::bootstrap::scale_changes;
use crate::observed::Node;
use crate::plan::{Plan, Step, WaitingReason};
use crate::render::{count, list};
use crate::view::{View, arrived};
use crate::way::{Cause, Wanted, Way};

/// Most shards with a target that their replicas have not reached, at any time: bounds the copying that foreground
/// work has to bear, and how far a plan is ahead of what was seen.
pub const MAX_MOVES_IN_FLIGHT: usize = 8;
/// ms for which a replacement is awaited before the replicas of a lost node go to the nodes that are there.
const JOIN_GRACE_MS: u64 = 60_000;

/// Plans new targets, as many as may be in flight.
pub(crate) fn replicas(view: &View<'_>, plan: &mut Plan) {
    let flying: Vec<u32> = view.cluster.shards.iter().filter(|shard| !arrived(shard)).map(|shard| shard.id).collect();
    let way = Way::new(view);
    let most_urgent = way.wanted.iter().map(|wanted| wanted.cause).min();
    // Nothing is evened out while a lost or leaving node still holds something.
    let may_begin = |wanted: &&Wanted| {
        let in_turn = wanted.cause != Cause::Balance || most_urgent == Some(Cause::Balance);
        wanted.blocked.is_none() && in_turn && allowed(view, plan, wanted.cause)
    };
    let mut room = MAX_MOVES_IN_FLIGHT.saturating_sub(flying.len());
    let mut moves = Vec::new();
    let mut cause = None;
    for wanted in way.wanted.iter().filter(may_begin) {
        let counted = !flying.contains(&wanted.change.shard);
        if counted && room == 0 {
            continue;
        }
        room -= usize::from(counted);
        cause = cause.min(Some(wanted.cause)).or(Some(wanted.cause));
        moves.push(wanted.change.clone());
    }
    let left = way.replicas.saturating_sub(moves.len());
    if let Some(cause) = cause {
        let reason = format!("{}; {} of {} to move now", why(view, cause), moves.len(), count(way.replicas, "replica"));
        plan.step(Step::Reconfigure { moves }, reason);
        if cause == Cause::Lost {
            // The first step that fails ends a round: a node that cannot start or join must not hold up repair.
            plan.steps.rotate_right(1);
        }
    }
    let behind: Vec<_> = way.wanted.iter().filter_map(|wanted| wanted.blocked.clone()).collect();
    if !behind.is_empty() {
        plan.wait(WaitingReason::Quorum, format!("no move of {}: {}", count(behind.len(), "shard"), list(&behind)));
    }
    if !flying.is_empty() || left > 0 {
        let named = if flying.is_empty() { String::new() } else { format!(" ({})", list(&flying)) };
        let message = format!(
            "{} of at most {MAX_MOVES_IN_FLIGHT} on their way{named}; {} to follow",
            count(flying.len(), "shard"),
            count(left, "replica")
        );
        plan.wait(WaitingReason::Moving, message);
    }
}

fn why(view: &View<'_>, cause: Cause) -> String {
    let loads = view.loads();
    let load = |node: &Node| count(loads.get(&node.id).copied().unwrap_or(0), "replica");
    match cause {
        Cause::Lost => {
            let lost = view.replacing().map(|lost| format!("node {} is lost ({})", lost.node, lost.why));
            lost.unwrap_or_default()
        }
        Cause::Leave => {
            let leaving = view.cluster.nodes.iter().filter(|node| node.draining && !view.is_lost(node.id));
            let leaving = leaving.filter(|node| loads.get(&node.id).is_some_and(|load| *load > 0));
            let named: Vec<_> = leaving.map(|node| format!("{} on node {}", load(node), node.id)).collect();
            if named.is_empty() {
                "the meta shard leaves its nodes".to_owned()
            } else {
                format!("to be left: {}", list(&named))
            }
        }
        Cause::Balance => {
            let loads: Vec<_> = loads.iter().map(|(node, load)| format!("{load} on node {node}")).collect();
            format!("uneven replicas ({})", list(&loads))
        }
    }
}

/// Whether moves for this cause may begin now.
fn allowed(view: &View<'_>, plan: &Plan, cause: Cause) -> bool {
    match cause {
        // Repair waits a little for the new node, so that nothing moves twice, but never for ever.
        Cause::Lost if cancels(plan) => false,
        Cause::Lost => view.missing() == 0 || view.replacing().is_some_and(|lost| lost.since_ms >= JOIN_GRACE_MS),
        // While a node is being started anew nothing else is on its way; a roll in turn waits for what has begun.
        Cause::Leave => !scale_changes(plan) && view.cluster.stop_reserved.is_none(),
        Cause::Balance => {
            let waits = view.cluster.stop_reserved.is_some() || !view.to_restart().is_empty();
            !waits && !view.conflict && view.complete() && !scale_changes(plan) && view.silent().next().is_none()
        }
    }
}

/// Whether this plan keeps a node that was about to leave: it may take replicas from the next round on.
fn cancels(plan: &Plan) -> bool {
    plan.steps.iter().any(|planned| matches!(planned.step, Step::CancelDrain { .. }))
}
