//! Report: what was planned and seen, as status. Pure: the same input gives the same status.

pub mod lines;
pub mod migration;

use granary_crds::status::{MAX_LINES, Phase, StorageClusterStatus};
use granary_planner::{
    desired::Desired,
    observed::{Cluster, Process, Seen},
    plan::Plan,
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use crate::{observe::Sight, substrate::Problem};

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
        ..StorageClusterStatus::default()
    };
    let whole = is_whole(facts, &status);
    status.phase = phase(facts, whole);
    status.conditions = conditions(facts, &status, whole, before);
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
        && facts.problems.is_empty()
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
    let waiting = facts.plan.waiting.iter().map(|waiting| format!("{:?}: {}", waiting.reason, waiting.message));
    degraded.chain(problems).chain(waiting).chain(facts.notes.iter().cloned()).collect()
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

fn conditions(
    facts: &Facts<'_>,
    status: &StorageClusterStatus,
    whole: bool,
    before: Option<&StorageClusterStatus>,
) -> Vec<Condition> {
    let fresh = facts.sight.observed.cluster.fresh().is_some();
    let leaders = format!("{} of {} shards have a leader", status.shards_with_leader, facts.desired.shards);
    let available = status.shards > 0 && status.shards == status.shards_with_leader;
    let (degraded_reason, problem) = problem(facts);
    let progressing = !facts.plan.steps.is_empty() || status.migration.is_some();
    let waits = status.waiting.first().cloned().unwrap_or_default();
    let said = |value: bool| if fresh { Some(value) } else { None };
    let reason = |value: bool, yes: &str, no: &str| if value { yes.to_owned() } else { no.to_owned() };
    let all = [
        ("Ready", said(whole), reason(whole, "AsDesired", "NotYet"), format!("{:?}: {waits}", status.phase)),
        ("Available", said(available), reason(available, "AllLed", "NoLeader"), leaders),
        (
            "Progressing",
            Some(progressing),
            reason(progressing, "Steps", "Settled"),
            format!("{} steps", status.plan_steps),
        ),
        ("Degraded", Some(problem.is_some()), degraded_reason, problem.unwrap_or_default()),
    ];
    let condition = |(type_, value, reason, message): (&str, Option<bool>, String, String)| {
        let value = value.map_or("Unknown", |value| if value { "True" } else { "False" });
        let same = before.and_then(|before| {
            before.conditions.iter().find(|condition| condition.type_ == type_ && condition.status == value)
        });
        let now = Time(timestamp(facts.now_ms).unwrap_or(Timestamp::UNIX_EPOCH));
        Condition {
            last_transition_time: same.map_or(now, |same| same.last_transition_time.clone()),
            message,
            observed_generation: Some(facts.generation),
            reason,
            status: value.to_owned(),
            type_: type_.to_owned(),
        }
    };
    all.into_iter().map(condition).collect()
}

/// The reason of the condition Degraded and its message: the cluster's own trouble first, then the substrate's, then
/// what went wrong in this round.
fn problem(facts: &Facts<'_>) -> (String, Option<String>) {
    if let Some(degraded) = facts.plan.degraded.first() {
        (format!("{:?}", degraded.reason), Some(degraded.message.clone()))
    } else if let Some(problem) = facts.problems.first() {
        (problem.reason.to_owned(), Some(problem.message.clone()))
    } else if let Some(error) = facts.error {
        ("RoundFailed".to_owned(), Some(error.to_owned()))
    } else {
        ("AllWell".to_owned(), None)
    }
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
