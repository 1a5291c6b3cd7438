//! Report: what was planned and seen, as status. Pure: the same input gives the same status.

pub mod conditions;
pub mod lines;
pub mod migration;
pub mod nodes;
pub mod spread;

use granary_crds::status::{MAX_LINES, Phase, StorageClusterStatus};
use granary_planner::{
    desired::Desired,
    observed::{Cluster, Process, Seen},
    plan::Plan,
};
use k8s_openapi::jiff::Timestamp;

use crate::{
    observe::Sight,
    substrate::{Kept, Problem, Storage},
};

/// What a status is made from.
pub struct Facts<'a> {
    /// What is asked.
    pub desired: &'a Desired,
    /// What was seen.
    pub sight: &'a Sight,
    /// What is done about it.
    pub plan: &'a Plan,
    /// Generation of the spec that was planned.
    pub generation: i64,
    /// Unix ms.
    pub now_ms: i64,
    /// Bytes copied in a second lately.
    pub bytes_per_second: Option<u64>,
    /// What went wrong in this round or is wrong with the spec.
    pub error: Option<&'a str>,
    /// What the substrate wants a person to know.
    pub notes: &'a [String],
    /// What a person has to put right in the substrate.
    pub problems: &'a [Problem],
    /// Disks of nodes that left, kept.
    pub kept: Option<&'a Kept>,
    /// How large disks are.
    pub storage: &'a Storage,
}

/// Problems of what may come: all that is asked for is done nevertheless.
const WARNINGS: [&str; 1] = ["VolumesUnguarded"];

/// What often follows from something else that is told too.
const CONSEQUENCES: [&str; 1] = ["Unschedulable"];

/// Puts what is at the bottom of it first, and what only may come last: the first one is the reason of a condition.
pub fn causes_first(problems: &mut [Problem]) {
    problems.sort_by_key(|problem| (WARNINGS.contains(&problem.reason), CONSEQUENCES.contains(&problem.reason)));
}

/// The status, given the one before it (for the times of its conditions).
pub fn report(facts: &Facts<'_>, before: Option<&StorageClusterStatus>) -> StorageClusterStatus {
    let cluster = facts.sight.observed.cluster.known();
    let waiting = waiting(facts);
    let ready_nodes = cluster.map_or(0, |cluster| ready_nodes(facts.sight, cluster));
    let (shards, with_leader) = cluster.map_or((0, 0), shard_counts);
    let mut status = StorageClusterStatus {
        observed_generation: Some(facts.generation),
        phase: Phase::Unknown,
        conditions: Vec::new(),
        replicas: cluster.map_or(0, |cluster| number(cluster.nodes.len())),
        ready_nodes: number(ready_nodes),
        shards: number(shards),
        shards_with_leader: number(with_leader),
        plan: capped(facts.plan.steps.iter().map(lines::step)),
        plan_steps: number(facts.plan.steps.len()),
        waiting_reason: facts.plan.waiting.first().map(|waiting| format!("{:?}", waiting.reason)),
        waiting: capped(waiting.into_iter()),
        migration: migration::left(facts.plan, cluster, facts.bytes_per_second),
        observed_time: timestamp(facts.now_ms).map(|time| time.to_string()),
        nodes: nodes::nodes(facts.sight),
        storage_size: facts.storage.smallest.clone(),
        bytes_stored: cluster.map(bytes_stored),
        claims_kept: facts.kept.map_or(0, |kept| i32::try_from(kept.count).unwrap_or(i32::MAX)),
        claims_kept_command: facts.kept.map(|kept| kept.command.clone()),
    };
    let whole = is_whole(facts, &status);
    status.phase = phase(facts, whole);
    let said = conditions::of(facts, &status, whole);
    let known = before.map_or(&[][..], |before| &before.conditions);
    status.conditions = conditions::dated(said, facts.generation, facts.now_ms, known);
    status
}

/// As desired, by fresh word only.
fn is_whole(facts: &Facts<'_>, status: &StorageClusterStatus) -> bool {
    let asked = |number: i32, asked: u32| u32::try_from(number) == Ok(asked);
    let fresh = facts.sight.observed.cluster.fresh().is_some();
    let draining = u32::try_from(facts.desired.draining.len()).unwrap_or(u32::MAX);
    let nodes = u32::try_from(status.replicas).unwrap_or_default();
    fresh
        && facts.plan.is_settled()
        && facts.problems.iter().all(|problem| WARNINGS.contains(&problem.reason))
        && (facts.desired.replicas..=facts.desired.replicas.saturating_add(draining)).contains(&nodes)
        && status.ready_nodes == status.replicas
        && asked(status.shards, facts.desired.shards)
        && asked(status.shards_with_leader, facts.desired.shards)
        && status.migration.is_none()
}

fn phase(facts: &Facts<'_>, whole: bool) -> Phase {
    let observed = &facts.sight.observed;
    let shards_made = observed.cluster.known().is_some_and(|cluster| cluster.shards.len() > 1);
    if !facts.plan.degraded.is_empty() || !facts.problems.is_empty() {
        Phase::Degraded
    } else if facts.desired.paused {
        Phase::Paused
    } else if whole {
        Phase::Ready
    } else if !observed.founded || (observed.cluster.fresh().is_some() && !shards_made) {
        Phase::Founding
    } else if observed.cluster.fresh().is_none() {
        Phase::Unknown
    } else {
        Phase::Progressing
    }
}

fn waiting(facts: &Facts<'_>) -> Vec<String> {
    let degraded = facts.plan.degraded.iter().map(|degraded| format!("{:?}: {}", degraded.reason, degraded.message));
    let problems = facts.problems.iter().map(|problem| format!("{}: {}", problem.reason, problem.message));
    let mut lines: Vec<_> = degraded.chain(problems).collect();
    let waiting = facts.plan.waiting.iter().map(|waiting| format!("{:?}: {}", waiting.reason, waiting.message));
    // A silence is a trouble and a wait at once, and the trouble says more.
    let waiting: Vec<_> = waiting.filter(|wait| !lines.iter().any(|line| line.starts_with(wait))).collect();
    lines.extend(waiting);
    let shared = facts.sight.observed.cluster.known().and_then(spread::shared_machines);
    lines.into_iter().chain(facts.notes.iter().cloned()).chain(shared).collect()
}

/// Members whose place runs and says that it is ready.
fn ready_nodes(sight: &Sight, cluster: &Cluster) -> usize {
    cluster.nodes.iter().filter(|node| is_ready(sight, node.id)).count()
}

/// Whether the member runs and says that it is ready.
pub fn is_ready(sight: &Sight, node: u64) -> bool {
    sight.observed.places.iter().any(|place| {
        let runs = matches!(place.process, Seen::Fresh(Process::Running));
        let is_it = place.disk.fresh().is_some() && sight.node_at(place) == Some(node);
        runs && is_it && sight.identities.get(&place.index).is_some_and(|identity| identity.ready)
    })
}

/// Data shards, and those with a leader.
fn shard_counts(cluster: &Cluster) -> (usize, usize) {
    let data = || cluster.shards.iter().filter(|shard| shard.id != 0);
    (data().count(), data().filter(|shard| shard.leader.is_some()).count())
}

/// Of all members together, each replica counted.
fn bytes_stored(cluster: &Cluster) -> i64 {
    let bytes = cluster.shards.iter().map(|shard| shard.bytes.saturating_mul(shard.replicas.len() as u64));
    i64::try_from(bytes.fold(0, u64::saturating_add)).unwrap_or(i64::MAX)
}

fn timestamp(ms: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(ms).ok()
}

fn capped(lines: impl Iterator<Item = String>) -> Vec<String> {
    lines.take(MAX_LINES).collect()
}

/// A count for the API, where counts are i32.
fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
