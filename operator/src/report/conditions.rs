//! The conditions of a status: what is True, False or Unknown, why, and since when.

use granary_crds::status::{Phase, StorageClusterStatus, condition};
use granary_planner::plan::DegradedReason;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::Facts;
use crate::substrate::Problem;

/// Longest message of a condition, in characters.
const LONGEST: usize = 1024;

/// One condition without its times.
pub struct Said {
    /// Its type.
    pub type_: &'static str,
    /// `None`: nobody knows.
    pub value: Option<bool>,
    /// One word in CamelCase.
    pub reason: String,
    /// In words, with numbers.
    pub message: String,
}

/// All conditions of a round.
pub fn of(facts: &Facts<'_>, status: &StorageClusterStatus, whole: bool) -> Vec<Said> {
    // Before a cluster was founded there is nobody to ask, and it is known to be neither ready nor available.
    let asked = facts.sight.observed.cluster.fresh().is_some() || !facts.sight.observed.founded;
    let said = |value: bool| asked.then_some(value);
    let reason = |value: bool, yes: &str, no: &str| match said(value) {
        None => "NodesUnreachable".to_owned(),
        Some(true) => yes.to_owned(),
        Some(false) => no.to_owned(),
    };
    let available = status.shards > 0 && status.shards == status.shards_with_leader;
    let (degraded_reason, problem) = problem(facts);
    let progressing = !facts.plan.steps.is_empty() || status.migration.is_some();
    let degraded = problem.is_some();
    let mut all = vec![
        Said {
            type_: condition::READY,
            value: said(whole),
            reason: reason(whole, "AsDesired", "NotYet"),
            message: ready(facts, status, whole),
        },
        Said {
            type_: condition::AVAILABLE,
            value: said(available),
            reason: reason(available, "AllLed", "NoLeader"),
            message: format!("{} of {} shards have a leader", status.shards_with_leader, facts.desired.shards),
        },
        Said {
            type_: condition::PROGRESSING,
            value: if progressing { Some(true) } else { said(false) },
            reason: if progressing { "Steps".to_owned() } else { reason(false, "Steps", "Settled") },
            message: progress(status),
        },
        Said {
            type_: condition::DEGRADED,
            value: if degraded { Some(true) } else { said(false) },
            reason: if degraded { degraded_reason } else { reason(false, "", "AllWell") },
            message: problem.unwrap_or_default(),
        },
    ];
    all.extend(resizing(facts));
    all
}

/// Only while disks are smaller than they shall be: whether they grow, or why they do not.
fn resizing(facts: &Facts<'_>) -> Option<Said> {
    let behind = facts.storage.behind.as_ref()?;
    let stands_in_the_way = |problem: &&Problem| ["NoExpansion", "GrowthFailed"].contains(&problem.reason);
    let (value, reason, message) = match facts.problems.iter().find(stands_in_the_way) {
        Some(problem) => (false, problem.reason, format!("{behind}; {}", problem.message)),
        None if facts.desired.paused => (false, "Paused", format!("{behind}; nothing is changed while it is paused")),
        None => (true, "Growing", behind.clone()),
    };
    Some(Said { type_: condition::STORAGE_RESIZING, value: Some(value), reason: reason.to_owned(), message })
}

fn ready(facts: &Facts<'_>, status: &StorageClusterStatus, whole: bool) -> String {
    let counts = format!(
        "{} of {} nodes are ready, {} of {} shards have a leader",
        status.ready_nodes, facts.desired.replicas, status.shards_with_leader, facts.desired.shards
    );
    match status.waiting.first() {
        Some(waits) => format!("{counts}; {waits}"),
        None if whole => format!("{counts}, every shard is whole"),
        None => counts,
    }
}

fn progress(status: &StorageClusterStatus) -> String {
    let moves = status.migration.as_ref().map(|left| {
        let rate = left.bytes_per_second.map(|rate| format!(" at {rate} bytes/s")).unwrap_or_default();
        format!("{} replicas to move, {} bytes left{rate}", left.moves_left, left.bytes_left)
    });
    match (status.plan_steps, moves) {
        (0, Some(moves)) => moves,
        (steps, Some(moves)) => format!("{steps} steps; {moves}"),
        (0, None) => "nothing to do".to_owned(),
        (steps, None) => format!("{steps} steps, first: {}", status.plan.first().map_or("", String::as_str)),
    }
}

/// The reason of the condition Degraded and its message: the cluster's own worst trouble first, then the substrate's,
/// then what went wrong in this round. A node that is not there is told with what keeps its process from running.
fn problem(facts: &Facts<'_>) -> (String, Option<String>) {
    if let Some(degraded) = facts.plan.degraded.iter().min_by_key(|degraded| degraded.reason) {
        let is_missing = matches!(degraded.reason, DegradedReason::NodeSilent | DegradedReason::RestartStuck);
        let cause = facts.problems.first().filter(|problem| is_missing && !super::WARNINGS.contains(&problem.reason));
        let cause = cause.map_or(String::new(), |problem| format!("; {}: {}", problem.reason, problem.message));
        (format!("{:?}", degraded.reason), Some(format!("{}{cause}", degraded.message)))
    } else if let Some(problem) = facts.problems.first() {
        (problem.reason.to_owned(), Some(problem.message.clone()))
    } else if let Some(error) = facts.error {
        ("RoundFailed".to_owned(), Some(error.to_owned()))
    } else {
        ("AllWell".to_owned(), None)
    }
}

/// With their times: a condition keeps its own until its value changes.
pub fn dated(said: Vec<Said>, generation: i64, now_ms: i64, before: &[Condition]) -> Vec<Condition> {
    let now = Time(Timestamp::from_second(now_ms.div_euclid(1000)).unwrap_or(Timestamp::UNIX_EPOCH));
    said.into_iter()
        .map(|said| {
            let status = said.value.map_or("Unknown", |value| if value { "True" } else { "False" });
            let same = before.iter().find(|condition| condition.type_ == said.type_ && condition.status == status);
            Condition {
                last_transition_time: same.map_or_else(|| now.clone(), |same| same.last_transition_time.clone()),
                message: said.message.chars().take(LONGEST).collect(),
                observed_generation: Some(generation),
                reason: said.reason,
                status: status.to_owned(),
                type_: said.type_.to_owned(),
            }
        })
        .collect()
}

/// The status after a round that saw nothing: what was known stays, and is not believed any more.
pub fn blind(
    before: Option<&StorageClusterStatus>,
    reason: &str,
    message: &str,
    generation: i64,
    now_ms: i64,
) -> StorageClusterStatus {
    let mut status = before.cloned().unwrap_or_default();
    let unknown = |type_| Said {
        type_,
        value: (type_ == condition::DEGRADED).then_some(true),
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    let mut types = vec![condition::READY, condition::AVAILABLE, condition::PROGRESSING, condition::DEGRADED];
    let resizing = |condition: &Condition| condition.type_ == condition::STORAGE_RESIZING;
    types.extend(status.conditions.iter().any(resizing).then_some(condition::STORAGE_RESIZING));
    let said = types.into_iter().map(unknown).collect();
    status.conditions = dated(said, generation, now_ms, &status.conditions);
    status.phase = Phase::Unknown;
    (status.plan, status.plan_steps, status.migration) = (Vec::new(), 0, None);
    (status.waiting, status.waiting_reason) = (vec![format!("{reason}: {message}")], Some(reason.to_owned()));
    status.observed_time = Timestamp::from_millisecond(now_ms).ok().map(|time| time.to_string());
    status
}

/// The status of a cluster whose data is being deleted; `problem` is why that does not get on.
pub fn leaving(
    before: Option<&StorageClusterStatus>,
    problem: Option<&str>,
    generation: i64,
    now_ms: i64,
) -> StorageClusterStatus {
    let waits = problem.unwrap_or("spec.deletionPolicy is Delete: the cluster's claims are being deleted");
    let mut status = blind(before, "Deleting", waits, generation, now_ms);
    let degraded = problem.is_some();
    let said = |type_, value: bool, reason: &str| Said {
        type_,
        value: Some(value),
        reason: reason.to_owned(),
        message: waits.to_owned(),
    };
    let all = vec![
        said(condition::READY, false, "Deleting"),
        said(condition::AVAILABLE, false, "Deleting"),
        said(condition::PROGRESSING, true, "Deleting"),
        said(condition::DEGRADED, degraded, if degraded { "DeletionFailed" } else { "AllWell" }),
    ];
    let known = before.map_or(&[][..], |before| &before.conditions);
    status.conditions = dated(all, generation, now_ms, known);
    status.phase = if degraded { Phase::Degraded } else { Phase::Progressing };
    status
}
