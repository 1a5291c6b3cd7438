//! Takes the next step of the growth of volumes, and says what stands in its way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{
        core::v1::{PersistentVolumeClaim, Pod},
        storage::v1::StorageClass,
    },
    jiff::Timestamp,
};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::{
    Kubernetes,
    api::{annotation, failed, label},
    growth::{self, Growth},
    look::is_removed,
    names::{self, CLUSTER_ID, LABEL_NODE, TOUCHED},
};
use crate::substrate::{Problem, SubstrateError};

/// Between two touches of a pod: its kubelet then looks at its volumes at once, where it would take up to 85 s (measured).
const TOUCH: Duration = Duration::from_secs(3);
/// How long a storage class is taken to be as it was.
const CLASS: Duration = Duration::from_secs(30);

/// What a storage class is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Grows,
    Fixed,
    Missing,
    /// The operator may not read it.
    Hidden,
}

/// One round of it.
pub async fn volumes(of: &Kubernetes) -> Result<Vec<Problem>, SubstrateError> {
    let (cluster, Some(id)) = (of.cluster(), of.identity().cluster_id) else { return Ok(Vec::new()) };
    let size = cluster.spec.storage.size.as_str();
    let mut claims = of.caches.claims(&of.objects.name, &of.name);
    claims.retain(|claim| annotation(claim.as_ref(), CLUSTER_ID) == Some(id.as_str()) && !is_removed(claim));
    claims.sort_by_key(|claim| label(claim.as_ref(), LABEL_NODE).and_then(names::index));
    let mut problems: Vec<Problem> = claims.iter().filter_map(|claim| growth::failure(claim)).collect();
    problems.extend(missing_class(of, &claims).await?);
    match growth::next(size, claims.iter().map(Arc::as_ref)) {
        Growth::Done => {}
        Growth::Ask(claim) => {
            let class = class_name(claim);
            if class_of(of, class).await? == Class::Fixed {
                problems.push(growth::no_expansion(class, size, claim));
                return Ok(problems);
            }
            let patch = json!({"spec": {"resources": {"requests": {"storage": size}}}});
            if let Err(error) = of.objects.merge(claim, patch).await {
                let SubstrateError::Forbidden { message, .. } = error else { return Err(error) };
                // So the API server says that the class does not allow it.
                let name = claim.name_any();
                problems.push(Problem { reason: "NoExpansion", message: format!("{name} cannot grow: {message}") });
            }
        }
        Growth::Underway(claim) => touch(of, claim).await?,
    }
    Ok(problems)
}

/// A class that does not exist keeps claims waiting for ever, and says so only where few look.
async fn missing_class(
    of: &Kubernetes,
    claims: &[Arc<PersistentVolumeClaim>],
) -> Result<Option<Problem>, SubstrateError> {
    let pending = |claim: &&Arc<PersistentVolumeClaim>| {
        claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Pending")
    };
    let Some(claim) = claims.iter().find(pending) else { return Ok(None) };
    let class = class_name(claim);
    let problem = if class.is_empty() {
        claim.spec.as_ref().is_some_and(|spec| spec.storage_class_name.is_none()).then(|| {
            "there is no default storage class: set spec.storage.className, or mark a class as the default".to_owned()
        })
    } else if class_of(of, class).await? == Class::Missing {
        Some(format!("there is no storage class {class}: make it, or make the cluster anew with another one"))
    } else {
        None
    };
    Ok(problem.map(|message| Problem { reason: "NoStorageClass", message }))
}

async fn class_of(of: &Kubernetes, name: &str) -> Result<Class, SubstrateError> {
    if let Some((at, class)) = of.memory.lock().class
        && at.elapsed() < CLASS
    {
        return Ok(class);
    }
    let class = match Api::<StorageClass>::all(of.client.clone()).get_opt(name).await {
        Ok(Some(class)) if class.allow_volume_expansion == Some(true) => Class::Grows,
        Ok(Some(_)) => Class::Fixed,
        Ok(None) => Class::Missing,
        Err(kube::Error::Api(status)) if status.is_forbidden() => Class::Hidden,
        Err(error) => return Err(failed::<StorageClass>("read", name, error)),
    };
    of.memory.lock().class = Some((Instant::now(), class));
    Ok(class)
}

/// The class that a claim has, its default filled in by the API server.
fn class_name(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default()
}

async fn touch(of: &Kubernetes, claim: &PersistentVolumeClaim) -> Result<(), SubstrateError> {
    let Some(index) = label(claim, LABEL_NODE).and_then(names::index) else { return Ok(()) };
    let name = names::pod(&of.name, index);
    let pods = of.caches.pods(&of.objects.name, &of.name);
    let Some(pod) = pods.iter().find(|pod| pod.name_any() == name) else { return Ok(()) };
    if of.memory.lock().may_touch(index, TOUCH) {
        let patch = json!({"metadata": {"annotations": {TOUCHED: Timestamp::now().to_string()}}});
        // By its uid alone: a pod's version changes with each of its probes.
        let mut pod: Pod = pod.as_ref().clone();
        pod.metadata.resource_version = None;
        of.objects.merge(&pod, patch).await?;
    }
    Ok(())
}
