//! Questions about what a StorageCluster's status says. Pure.

use granary_crds::StorageCluster;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

type Verdict = std::result::Result<(), String>;

/// The condition of this type.
fn find<'a>(cluster: &'a StorageCluster, kind: &str) -> Option<&'a Condition> {
    cluster.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == kind)
}

/// Ready is True for the generation that is stored now, with so many members, all of them ready.
pub fn ready(cluster: &StorageCluster, members: i32) -> Verdict {
    condition(cluster, "Ready", "True")?;
    let status = cluster.status.clone().unwrap_or_default();
    let planned = find(cluster, "Ready").and_then(|condition| condition.observed_generation);
    if planned != cluster.metadata.generation {
        Err(format!("Ready is about generation {planned:?}, the spec has {:?}", cluster.metadata.generation))
    } else if (status.replicas, status.ready_nodes) != (members, members) {
        Err(format!("{} members, {} ready, wanted are {members}", status.replicas, status.ready_nodes))
    } else {
        Ok(())
    }
}

/// A condition is True, False or Unknown.
pub fn condition(cluster: &StorageCluster, kind: &str, status: &str) -> Verdict {
    match find(cluster, kind) {
        Some(condition) if condition.status == status => Ok(()),
        Some(other) => Err(format!("{kind} is {} ({}: {})", other.status, other.reason, other.message)),
        None => Err(format!("no condition {kind}")),
    }
}

/// A condition is True with this reason; gives its message.
pub fn reason(cluster: &StorageCluster, kind: &str, reason: &str) -> std::result::Result<String, String> {
    condition(cluster, kind, "True")?;
    match find(cluster, kind) {
        Some(condition) if condition.reason == reason => Ok(condition.message.clone()),
        Some(other) => Err(format!("{kind} has the reason {}: {}", other.reason, other.message)),
        None => Err(format!("no condition {kind}")),
    }
}

/// A condition is False with this reason; gives its message.
pub fn refused_condition(cluster: &StorageCluster, kind: &str, reason: &str) -> std::result::Result<String, String> {
    condition(cluster, kind, "False")?;
    match find(cluster, kind) {
        Some(condition) if condition.reason == reason => Ok(condition.message.clone()),
        Some(other) => Err(format!("{kind} has the reason {}: {}", other.reason, other.message)),
        None => Err(format!("no condition {kind}")),
    }
}

/// The whole status in a few words.
pub fn said(cluster: &StorageCluster) -> String {
    let Some(status) = &cluster.status else { return "none".into() };
    let conditions =
        status.conditions.iter().map(|one| format!("{}={} {}: {}", one.type_, one.status, one.reason, one.message));
    format!(
        "phase {:?}, generation {:?} of {:?}, members {} ready {}, shards {} with leader {}, conditions {:?}, plan {:?}, waiting {:?}",
        status.phase,
        status.observed_generation,
        cluster.metadata.generation,
        status.replicas,
        status.ready_nodes,
        status.shards,
        status.shards_with_leader,
        conditions.collect::<Vec<_>>(),
        status.plan,
        status.waiting,
    )
}
