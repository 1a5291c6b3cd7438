//! What is repaired before anything else: stopped processes are started, and it is said which nodes are lost or silent
//! and why they are or are not replaced. Stops nothing. How a lost node is replaced follows from `scale`, `balance`
//! and `drain`: its replicas move like those of a draining node.

use crate::observed::{Disk, Node, Observed, Process};
use crate::plan::{DegradedReason, Plan, Step, WaitingReason};
use crate::render::{count, list};
use crate::view::{BACK_MS, View, patience};

/// Repairs, with a fresh word of the cluster.
pub(crate) fn plan(view: &View<'_>, plan: &mut Plan) {
    conflict(view, plan);
    start_members(view, plan);
    report_lost(view, plan);
    report_silent(view, plan);
    report_full(view, plan);
    report_damaged(view, plan);
    report_stalled(view, plan);
    let leaderless: Vec<_> =
        view.cluster.shards.iter().filter(|s| s.leader.is_none() || !s.fresh).map(|s| s.id).collect();
    if !leaderless.is_empty() {
        let message = format!("{} without a leader: {}", count(leaderless.len(), "shard"), list(&leaderless));
        plan.wait(WaitingReason::NoLeader, message);
    }
}

/// Starts every stopped process that may hold something of this cluster, or may be needed by it: with no fresh word of
/// the cluster nobody knows which are not.
pub(crate) fn start_stopped(observed: &Observed, cluster_id: &str, plan: &mut Plan) {
    for place in observed.places.iter().filter(|place| place.process.fresh() == Some(&Process::Stopped)) {
        match place.disk.known() {
            Some(Disk::Member { cluster_id: other, .. }) if other != cluster_id => {}
            // A founded cluster's missing disk is not made anew before the cluster says that it can be spared.
            Some(Disk::Gone) if observed.founded => {}
            _ => plan.step(Step::StartNode { index: place.index }, format!("the process of {} is stopped", place.name)),
        }
    }
}

fn start_members(view: &View<'_>, plan: &mut Plan) {
    for place in view.observed.places.iter().filter(|place| place.process.fresh() == Some(&Process::Stopped)) {
        let node = view.cluster.nodes.iter().find(|node| match place.disk.known() {
            Some(Disk::Member { cluster_id, node_id }) => *cluster_id == view.cluster.cluster_id && *node_id == node.id,
            Some(Disk::Gone) => false,
            Some(Disk::Blank { .. }) | None => place.name == node.name,
        });
        if let Some(node) = node {
            let reason = format!("the process of {} (node {}) is stopped", place.name, node.id);
            plan.step(Step::StartNode { index: place.index }, reason);
        } else if place.disk.known().is_none() {
            let reason = format!("only the node at {} can tell what its disk holds, and it is stopped", place.name);
            plan.step(Step::StartNode { index: place.index }, reason);
        }
    }
}

fn conflict(view: &View<'_>, plan: &mut Plan) {
    let (desired, cluster) = (view.desired, view.cluster);
    let fields = [
        ("replicationFactor", desired.replication_factor, cluster.replication_factor),
        ("shards", desired.shards, cluster.shard_count),
    ];
    for (field, asked, is) in fields.into_iter().filter(|(_, asked, is)| asked != is) {
        let message =
            format!("spec.{field} is {asked}, the cluster was made with {is}, which is fixed: it has to be {is}");
        plan.degrade(DegradedReason::SpecConflict, message);
    }
}

fn report_lost(view: &View<'_>, plan: &mut Plan) {
    let cases: Vec<_> = view.lost.iter().map(|lost| format!("node {} ({})", lost.node, lost.why)).collect();
    if view.too_many_lost() {
        let message = format!(
            "{} of {} lost, more than a third: {}; nothing is replaced: bring them back or decide by hand",
            view.lost.len(),
            count(view.cluster.nodes.len(), "node"),
            list(&cases)
        );
        plan.degrade(DegradedReason::ManyNodesLost, message);
    }
    let without: Vec<_> = view.without_quorum();
    let shards: Vec<_> =
        without.iter().map(|(shard, live, all)| format!("shard {shard} has {live} of {all} voters")).collect();
    if !shards.is_empty() {
        let message = format!("no quorum without {}: {}; bring a node back", list(&cases), list(&shards));
        plan.degrade(DegradedReason::QuorumLost, message);
    }
    if let (Some(now), true) = (view.replacing(), view.lost.len() > 1) {
        let message = format!("{} more lost, replaced one at a time after node {}", view.lost.len() - 1, now.node);
        plan.wait(WaitingReason::Quorum, message);
    }
}

/// What is said of every member that is not heard, and what becomes of it.
fn report_silent(view: &View<'_>, plan: &mut Plan) {
    let limit = |node: &Node| match patience(view.desired, view.observed, node) {
        Some(limit) if view.desired.replace_after_ms != Some(limit) => {
            format!("replaced after {} s, as its machine is being emptied", limit / 1000)
        }
        Some(limit) => format!("replaced after {} s", limit / 1000),
        None => "not replaced, as replaceAfter is Never".to_owned(),
    };
    let for_long = |node: &Node| format!("{} is not heard for {} s", view.named(node.id), node.silent_for_ms / 1000);
    let expected = |node: &&Node| view.cluster.stop_reserved != Some(node.id) || node.silent_for_ms >= BACK_MS;
    let waiting: Vec<_> =
        view.silent().filter(expected).map(|node| format!("{}: {}", for_long(node), limit(node))).collect();
    if !waiting.is_empty() {
        plan.wait(WaitingReason::NodeSilent, list(&waiting));
        let message = format!("{}; look at its log and its machine", list(&waiting));
        plan.degrade(DegradedReason::NodeSilent, message);
    }
    if let Some(now) = view.replacing() {
        let message = format!("{} is lost: {}; it is being replaced", view.named(now.node), now.why);
        plan.degrade(DegradedReason::NodeSilent, message);
    }
}

fn report_full(view: &View<'_>, plan: &mut Plan) {
    let full: Vec<_> = view.cluster.nodes.iter().filter(|n| n.read_only).map(|n| view.named(n.id)).collect();
    if !full.is_empty() {
        let message = format!(
            "{} refuses writes, as its disk is nearly full: raise spec.storage.size, add nodes, or delete data",
            list(&full)
        );
        plan.degrade(DegradedReason::DiskFull, message);
    }
}

/// The nodes repair what they can by themselves; a disk that damages data is for a person to look at.
fn report_damaged(view: &View<'_>, plan: &mut Plan) {
    let damaged = view.cluster.nodes.iter().filter(|node| !node.damage.is_empty());
    let cases: Vec<_> = damaged.map(|node| format!("{}: {}", view.named(node.id), node.damage)).collect();
    if !cases.is_empty() {
        plan.degrade(DegradedReason::DataDamaged, format!("{}; look at the disk", list(&cases)));
    }
}

/// Its leaders have left it, and it ends itself where that is safer; nothing is moved for it.
fn report_stalled(view: &View<'_>, plan: &mut Plan) {
    let stalled = view.cluster.nodes.iter().filter(|node| !node.trouble.is_empty());
    let cases: Vec<_> = stalled.map(|node| format!("{}: {}", view.named(node.id), node.trouble)).collect();
    if !cases.is_empty() {
        plan.degrade(DegradedReason::NodeStalled, format!("{}; look at its disk and its log", list(&cases)));
    }
}
