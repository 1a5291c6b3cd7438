//! Rolling restarts: processes that are to be started anew, one at a time.
//!
//! A place where no code runs yet is sent away at once: that takes nothing away, and it is how a newer spec gets past a
//! broken one. A member that runs goes only while every other one is well and no shard would lose its quorum: its stop is
//! reserved, its leaders move away, then its process goes, and the next one waits until it is back and has caught up. A
//! node that does not come back stops the roll. Moves none of the replicas: those that are on their way, and those of lost
//! and leaving nodes, go first (they end); evening out waits for the roll (see `balance` and `leaders`).

use crate::observed::{Disk, Node, Observed, Place, Process};
use crate::plan::{DegradedReason, Plan, Step, WaitingReason};
use crate::render::{count, list};
use crate::safety;
use crate::standing::Standing;
use crate::view::{BACK_MS, HEARD_MS, View, arrived};

/// Sends away one process whose code does not run, whatever else is down; the cluster need not answer.
pub(crate) fn starting(observed: &Observed, plan: &mut Plan) {
    let cluster = observed.cluster.fresh();
    if observed.cluster_id.is_none() || cluster.is_some_and(|c| Some(&c.cluster_id) != observed.cluster_id.as_ref()) {
        return;
    }
    // What was heard a moment ago ran then: the next round knows better.
    let heard = |name: &str| {
        cluster.is_some_and(|c| c.nodes.iter().any(|node| node.name == name && node.silent_for_ms <= HEARD_MS))
    };
    let next = observed.places.iter().find_map(|place| {
        let why = place.restart.as_ref()?;
        let foreign = matches!(place.disk.known(), Some(Disk::Member { cluster_id, .. })
            if Some(cluster_id) != observed.cluster_id.as_ref());
        // Before there is a cluster a process that tells nothing holds nothing up but itself.
        let mute = !observed.founded && cluster.is_none() && place.disk.known().is_none();
        let may = match place.process.fresh()? {
            Process::Starting => !foreign && !heard(&place.name),
            Process::Running => mute,
            Process::Stopped => false,
        };
        may.then_some((place, why))
    });
    if let Some((place, why)) = next {
        let reason = format!("{why}; {} has not come up, so nothing stops with it", place.name);
        plan.step(Step::RestartPlace { index: place.index }, reason);
    }
}

/// Gives the reservation back once the node is up again, so that the next one need not wait until it ends by itself.
pub(crate) fn release(view: &View<'_>, plan: &mut Plan) {
    let held = view.cluster.stop_reserved.and_then(|id| view.cluster.nodes.iter().find(|node| node.id == id));
    let Some(node) = held else { return };
    if view.place_of(node.id).is_some_and(|place| place.restart.is_some() && !view.leaves(node)) {
        return;
    }
    match view.standing(node) {
        Standing::Well => {
            let reason = format!("{} is up and has caught up: another one may be stopped", view.named(node.id));
            plan.step(Step::ReleaseStop { node: node.id }, reason);
        }
        _ => plan.wait(WaitingReason::Restarting, format!("{}: its stop is reserved", view.ails(node))),
    }
}

/// Starts the next one anew, or says what it waits for.
pub(crate) fn roll(view: &View<'_>, plan: &mut Plan) {
    let asked = view.to_restart();
    let rest = asked.len();
    if rest > 0 {
        report_stuck(view, rest, plan);
    }
    if plan.steps.iter().any(|planned| planned.step.is_disruptive()) {
        return;
    }
    if let Some((place, why)) = holds_nothing(view, plan) {
        let reason = format!("{why}; no member runs at {}", place.name);
        plan.step(Step::RestartPlace { index: place.index }, reason);
        return;
    }
    let held = |node: &Node| view.cluster.stop_reserved == Some(node.id);
    let leads_meta = |node: &Node| view.cluster.shards.first().is_some_and(|meta| meta.leader == Some(node.id));
    // The one whose turn it is; then those that are badly off, as least is lost with them; the meta shard's leader last.
    let turn = |(place, node): &&(&Place, &Node)| (!held(node), view.standing(node), leads_meta(node), place.index);
    let Some((place, node)) = asked.iter().min_by_key(turn).copied() else { return };
    let why = place.restart.as_deref().unwrap_or_default();
    let left = count(rest, "node");
    match may_go(view, plan, node) {
        Err((reason, because)) => {
            plan.wait(reason, format!("{left} to be started anew ({why}), {} next: {because}", view.named(node.id)));
        }
        Ok(()) => {
            plan.wait(WaitingReason::Restarting, format!("{left} to be started anew ({why}), one at a time"));
            go(view, place, node, plan);
        }
    }
}

fn go(view: &View<'_>, place: &Place, node: &Node, plan: &mut Plan) {
    let why = place.restart.as_deref().unwrap_or_default();
    let named = view.named(node.id);
    let led = view.cluster.shards.iter().filter(|shard| shard.leader == Some(node.id)).count();
    let (alone, held) = (alone(view), view.cluster.stop_reserved == Some(node.id));
    let reserve = |plan: &mut Plan| {
        let reason = format!("{named} is to be started anew: every shard keeps its quorum without it");
        plan.step(Step::ReserveStop { node: node.id }, reason);
    };
    if led > 0 && !alone && view.standing(node) > Standing::Down {
        if !held {
            reserve(plan);
        }
        if !node.leaders_away {
            plan.step(Step::LeadersAway { node: node.id }, format!("{named} leads {}", count(led, "shard")));
        }
        let message = format!("{named} leads {}: they move away first", count(led, "shard"));
        plan.wait(WaitingReason::Restarting, message);
        return;
    }
    // One that is silent may be beyond reach: its reservation is not drawn out while it does not go.
    let renews = !held || view.standing(node) != Standing::Silent;
    if !alone && renews {
        reserve(plan);
    }
    plan.step(Step::RestartPlace { index: place.index }, why.to_owned());
}

/// With one copy a shard is away while its node is, however long one waits: the nodes can reserve nothing then.
fn alone(view: &View<'_>) -> bool {
    view.cluster.replication_factor == 1
}

/// Whether this member may be stopped now, or what has to come first.
fn may_go(view: &View<'_>, plan: &Plan, node: &Node) -> Result<(), (WaitingReason, String)> {
    let wait = |message: String| Err((WaitingReason::Restarting, message));
    let standing = view.standing(node);
    if standing == Standing::Down {
        return wait(view.ails(node));
    }
    // What is not well itself has to go in spite of the others, or nothing would help it; the quorum decides.
    let least = match standing {
        Standing::Silent | Standing::Down => Standing::Silent,
        Standing::Behind => Standing::Behind,
        Standing::Well => Standing::Well,
    };
    let others = view.cluster.nodes.iter().filter(|other| other.id != node.id);
    if let Some(other) = others.filter(|other| view.standing(other) < least).min_by_key(|other| view.standing(other)) {
        return wait(view.ails(other));
    }
    if standing == Standing::Well {
        moves(view, plan)?;
        unproven(view)?;
    }
    if alone(view) {
        return Ok(());
    }
    if let Some(other) = view.stop_of_another(node.id) {
        return wait(format!("the stop of {} is reserved", view.named(other)));
    }
    safety::can_stop(view.cluster, node.id).map_err(|reasons| (WaitingReason::Quorum, list(&reasons)))
}

/// Replicas on their way, and whatever begins to move them, go first.
fn moves(view: &View<'_>, plan: &Plan) -> Result<(), (WaitingReason, String)> {
    let flying: Vec<u32> = view.cluster.shards.iter().filter(|shard| !arrived(shard)).map(|shard| shard.id).collect();
    if !flying.is_empty() {
        let message = format!("{} on the move: {}", count(flying.len(), "shard"), list(&flying));
        return Err((WaitingReason::Restarting, message));
    }
    let begins = |step: &Step| {
        matches!(step, Step::Reconfigure { .. } | Step::CreateShards { .. } | Step::Drain { .. })
            || matches!(step, Step::CancelDrain { .. } | Step::ReleaseStop { .. })
    };
    match plan.steps.iter().find(|planned| begins(&planned.step)) {
        Some(first) => Err((WaitingReason::Restarting, format!("first: {}", first.step))),
        None => Ok(()),
    }
}

/// While no member runs as the spec now asks, a node that is missing may be missing for what awaits all of them.
fn unproven(view: &View<'_>) -> Result<(), (WaitingReason, String)> {
    let as_asked = |node: &Node| view.place_of(node.id).is_some_and(|place| place.restart.is_none());
    let proven = view.cluster.nodes.iter().any(|node| as_asked(node) && view.standing(node) >= Standing::Behind);
    let missing = view.missing();
    if proven || missing == 0 {
        return Ok(());
    }
    let message = format!(
        "{} has to join before, as none runs so yet: look at its log, make room for it, or lower replicas",
        count(missing, "new node")
    );
    Err((WaitingReason::Restarting, message))
}

/// A place that runs no member, to be started anew: nothing is asked of anybody. What is about to join or to be retired
/// is left to that.
fn holds_nothing<'a>(view: &View<'a>, plan: &Plan) -> Option<(&'a Place, &'a String)> {
    view.observed.places.iter().find_map(|place| {
        let why = place.restart.as_ref()?;
        let joins = plan.steps.iter().any(|planned| planned.step == Step::Join { index: place.index });
        let empty =
            matches!(place.disk.fresh(), Some(Disk::Blank { .. } | Disk::Gone)) && view.member_at(place).is_none();
        let named = view.cluster.nodes.iter().any(|node| node.name == place.name);
        let holds = !empty && (named || matches!(place.disk.known(), Some(Disk::Member { .. })));
        let runs = place.process.fresh() == Some(&Process::Running);
        (runs && !joins && !holds).then_some((place, why))
    })
}

/// A member that was started as asked, or needs nothing, and does not come back: the others wait for it.
fn report_stuck(view: &View<'_>, rest: usize, plan: &mut Plan) {
    let stuck = |node: &&Node| {
        let asked = view.place_of(node.id).is_some_and(|place| place.restart.is_some());
        let limit = if view.cluster.stop_reserved == Some(node.id) { BACK_MS } else { 0 };
        let silent = view.standing(node) == Standing::Silent && node.silent_for_ms >= limit;
        silent && !asked && !view.is_lost(node.id)
    };
    let Some(node) = view.cluster.nodes.iter().find(stuck) else { return };
    let process = match view.place_of(node.id).and_then(|place| place.process.fresh()) {
        Some(Process::Starting) => "its process does not come up",
        Some(Process::Running) => "its process runs",
        Some(Process::Stopped) => "its process is stopped",
        None => "what its process does is unknown",
    };
    let message = format!(
        "{} does not come back: not heard for {} s, {process}; {} to be started anew, none before it is back: look at \
         its log and put it right, or change the spec (back) again: then it is started anew first",
        view.named(node.id),
        node.silent_for_ms / 1000,
        count(rest, "more node")
    );
    plan.degrade(DegradedReason::RestartStuck, message);
}
