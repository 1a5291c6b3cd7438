//! Places: a claim and a StatefulSet each. Made with POST, so that nothing that is there is ever overwritten; taken away
//! by uid, so that nothing made since is ever hit.

use std::sync::Arc;

use granary_planner::observed::Process;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod},
};
use kube::{Resource, ResourceExt as _};
use serde_json::json;

use super::{
    Kubernetes,
    api::{Created, annotation},
    look::{by_index, is_removed, outdated},
    memory::{CLAIM, SET},
    names::{self, CLUSTER_ID, REMOVED},
    objects,
    pods::process,
};
use crate::substrate::{Problem, Start, SubstrateError};

/// Makes what is missing of a place: first its claim, then its set.
pub async fn start(of: &Kubernetes, index: u32) -> Result<Start, SubstrateError> {
    let (cluster, id) = (of.cluster(), of.cluster_id()?);
    let template = of.of(&cluster, &id);
    let name = names::object(&of.name, index);
    let claim = match of.objects.create(&objects::claim(&template, index)).await? {
        Created::New => None,
        Created::Existing(claim) => Some(claim),
    };
    if let Some(claim) = claim {
        if let Some(problem) = not_ours(&claim, &id) {
            return Ok(refused(of, format!("{CLAIM}{name}"), problem));
        }
        if is_removed(&claim) {
            return Err(SubstrateError::Place(format!("the claim {name} was given up: its index is not used again")));
        }
        if claim.metadata.deletion_timestamp.is_some() {
            return Ok(Start::Later(format!("the claim {name} is being deleted")));
        }
    }
    of.memory.lock().note(format!("{CLAIM}{name}"), None);
    let set = match objects::statefulset(&template, index) {
        Ok(set) => set,
        Err(error) => return Ok(refused(of, format!("{SET}{name}"), overlay(&error.to_string()))),
    };
    let key = format!("{SET}{name}");
    match of.objects.create(&set).await {
        Ok(Created::New) => {
            of.memory.lock().note(key, None);
            Ok(Start::Started)
        }
        Ok(Created::Existing(set)) => match not_ours(&set, &id) {
            Some(problem) => Ok(refused(of, key, problem)),
            None => {
                of.memory.lock().note(key, None);
                Ok(Start::Running)
            }
        },
        Err(SubstrateError::Refused { message, .. }) => Ok(refused(of, key, overlay(&message))),
        Err(error) => Err(error),
    }
}

/// Deletes the pod, by uid; its set makes it anew. Whatever the pod has to hand over it does while it ends.
pub async fn restart(of: &Kubernetes, index: u32) -> Result<(), SubstrateError> {
    match to_restart(of, index) {
        Some(pod) => of.objects.delete::<Pod>(&pod, false).await,
        None => Ok(()),
    }
}

/// The same for a pod in which no process ran: with its resourceVersion, so that one that runs by now stays.
pub async fn restart_starting(of: &Kubernetes, index: u32) -> Result<(), SubstrateError> {
    let starts = |pod: &Arc<Pod>| process(Some(pod.as_ref())).fresh() == Some(&Process::Starting);
    match to_restart(of, index).filter(starts) {
        Some(pod) => of.objects.delete::<Pod>(&pod, true).await,
        None => Ok(()),
    }
}

/// Judged once more: one that was made since this round looked is as it shall be.
fn to_restart(of: &Kubernetes, index: u32) -> Option<Arc<Pod>> {
    let pod = by_index(of.caches.pods(&of.objects.name, &of.name)).remove(&index)?;
    let set = by_index(of.caches.sets(&of.objects.name, &of.name)).remove(&index)?;
    (outdated(&set, &pod).is_some() && pod.metadata.deletion_timestamp.is_none()).then_some(pod)
}

/// Marks the claim, so that this place is never started again, and deletes the set. What then becomes of the claim is
/// done in the upkeep.
pub async fn retire(of: &Kubernetes, index: u32) -> Result<(), SubstrateError> {
    let id = of.cluster_id()?;
    let name = names::object(&of.name, index);
    if let Some(claim) = of.objects.get::<PersistentVolumeClaim>(&name).await?
        && not_ours(&claim, &id).is_none()
        && !is_removed(&claim)
    {
        let now = k8s_openapi::jiff::Timestamp::now().to_string();
        of.objects.merge(&claim, json!({"metadata": {"annotations": {REMOVED: now}}})).await?;
    }
    if let Some(set) = of.objects.get::<StatefulSet>(&name).await?
        && not_ours(&set, &id).is_none()
    {
        of.objects.delete(&set, true).await?;
    }
    Ok(())
}

/// That an object of our name is somebody else's.
pub(super) fn not_ours<K: Resource<DynamicType = ()>>(object: &K, cluster_id: &str) -> Option<Problem> {
    let theirs = annotation(object, CLUSTER_ID);
    if theirs == Some(cluster_id) {
        return None;
    }
    let (kind, name) = (K::kind(&()), object.name_any());
    let whose = theirs.map_or("was not made by the operator".to_owned(), |id| format!("belongs to cluster {id}"));
    let message =
        format!("the {kind} {name} {whose}, this cluster is {cluster_id}: rename or remove it, or this cluster");
    Some(Problem { reason: "NameTaken", message })
}

/// That the pods cannot be as spec.podTemplate or another field wants them.
pub(super) fn overlay(message: &str) -> Problem {
    Problem { reason: "InvalidPodTemplate", message: format!("the pods cannot be made so: {message}") }
}

fn refused(of: &Kubernetes, key: String, problem: Problem) -> Start {
    let why = problem.message.clone();
    of.memory.lock().note(key, Some(problem));
    Start::Later(why)
}
