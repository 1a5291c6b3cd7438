//! The end of a drain or a replacement: takes a node that holds nothing off the map, then gives its place up. One such
//! step a plan. The nodes check the same again (`CanRemove`); what is not fresh is not empty.

use crate::observed::{Disk, Place};
use crate::plan::{Plan, Step, WaitingReason};
use crate::render::{count, list};
use crate::safety;
use crate::view::View;

/// Removes one node or retires one place, or says what is still there.
pub(crate) fn let_go(view: &View<'_>, plan: &mut Plan) {
    if view.blocked || plan.steps.iter().any(|planned| matches!(planned.step, Step::Drain { .. })) {
        return;
    }
    let taken_away = |plan: &Plan| plan.steps.iter().any(|planned| planned.step.is_disruptive());
    if taken_away(plan) {
        return;
    }
    remove(view, plan);
    if !taken_away(plan) {
        retire(view, plan);
    }
}

fn remove(view: &View<'_>, plan: &mut Plan) {
    let cancelled = |node: u64| plan.steps.iter().any(|planned| planned.step == Step::CancelDrain { node });
    let lost = view.replacing().map(|lost| (lost.node, format!("is lost ({})", lost.why)));
    let draining = view.draining().map(|node| (node.id, "leaves".to_owned()));
    let mut leaving: Vec<_> = lost.into_iter().chain(draining).filter(|(node, _)| !cancelled(*node)).collect();
    leaving.retain(|(node, why)| match safety::can_remove(view.cluster, *node) {
        Ok(()) => true,
        Err(reasons) => {
            let message = format!("node {node} {why}: {}: {}", count(reasons.len(), "reason"), list(&reasons));
            plan.wait(WaitingReason::Draining, message);
            false
        }
    });
    let Some((node, why)) = leaving.first() else { return };
    // One that is not heard, and holds nothing, has nothing left that could stop; and the stop of the other one waits until
    // it is heard or gone (see `restart`): each would wait for the other.
    if let Some(other) = view.stop_of_another(*node).filter(|_| view.is_heard(*node)) {
        plan.wait(WaitingReason::Quorum, format!("node {node} {why}: the stop of node {other} is reserved first"));
        return;
    }
    let reason =
        format!("node {node} {why}: 0 replicas left by the word of {}", count(view.cluster.shards.len(), "shard"));
    plan.step(Step::RemoveNode { node: *node }, reason);
    if leaving.len() > 1 {
        plan.wait(
            WaitingReason::Draining,
            format!("{} to remove, one at a time", count(leaving.len() - 1, "more node")),
        );
    }
}

fn retire(view: &View<'_>, plan: &mut Plan) {
    let removed = view.observed.places.iter().find_map(|place| match place.disk.fresh() {
        Some(Disk::Member { cluster_id, node_id })
            if *cluster_id == view.cluster.cluster_id && !view.is_member(*node_id) =>
        {
            Some((place, format!("node {node_id} at {} was removed from the map", place.name)))
        }
        _ => None,
    });
    let gone = || {
        let gone = |place: &&Place| place.disk.fresh() == Some(&Disk::Gone) && !view.is_named(&place.name);
        let place = view.observed.places.iter().find(gone)?;
        Some((place, format!("the disk of {} is gone, and no node of that name is left", place.name)))
    };
    let spare = || {
        let free = view.free_places();
        let surplus = free.len().saturating_sub(view.missing());
        let empty = free
            .iter()
            .rev()
            .find(|place| matches!(place.disk.fresh(), Some(Disk::Blank { .. })) && !view.is_named(&place.name));
        let joining = plan.steps.iter().any(|planned| matches!(planned.step, Step::Join { .. }));
        let reason = |name: &str| format!("{name} is empty, and {} needed beside the members", view.missing());
        empty.filter(|_| surplus > 0 && !joining).map(|place| (*place, reason(&place.name)))
    };
    if let Some((place, reason)) = removed.or_else(gone).or_else(spare) {
        plan.step(Step::RetirePlace { index: place.index }, reason);
    } else {
        await_spare(view, plan);
    }
}

/// Places beyond what is missing, whose disks are not known: they may hold something, so they stay until that is known.
fn await_spare(view: &View<'_>, plan: &mut Plan) {
    let unknown = |place: &&Place| place.disk.fresh().is_none();
    // One whose disk was seen to be gone is no place for a new node.
    let gone = |place: &&Place| place.disk.known() == Some(&Disk::Gone) && !view.is_named(&place.name);
    let gone = view.observed.places.iter().filter(gone);
    let surplus = view.free_places().into_iter().skip(view.missing());
    let spare: Vec<_> = surplus.chain(gone).filter(unknown).map(|place| place.name.clone()).collect();
    if !spare.is_empty() {
        let message = format!(
            "{} more than needed, kept until it is known what the disk of {} holds",
            count(spare.len(), "place"),
            list(&spare)
        );
        plan.wait(WaitingReason::Unknown, message);
    }
}
