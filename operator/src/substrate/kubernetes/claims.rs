//! Claims: which node's data each holds is noted on it, volumes are kept safe from the deletion of a namespace, and what
//! was given up is taken away as the spec says. Goes on with whatever an earlier round or process left half done.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use granary_crds::{
    StorageCluster,
    spec::{DeletionPolicy, DiskPolicy},
};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod},
};
use kube::{ResourceExt as _, api::ListParams};
use serde_json::json;

use super::{
    Kubernetes,
    api::{annotation, failed},
    look::{by_index, is_removed},
    names::{self, CLUSTER_ID, NODE_ID, selector},
};
use crate::substrate::{Care, Problem, SubstrateError};

/// How often it is looked for volumes whose policy is to be given back.
const GIVE_BACK: Duration = Duration::from_secs(300);

/// One round of it.
pub async fn tend(of: &Kubernetes, care: &Care) -> Result<Vec<Problem>, SubstrateError> {
    let (cluster, Some(id)) = (of.cluster(), of.identity().cluster_id) else { return Ok(Vec::new()) };
    let mut claims = by_index(of.caches.claims(&of.objects.name, &of.name));
    claims.retain(|_, claim| annotation(claim.as_ref(), CLUSTER_ID) == Some(id.as_str()));
    note_members(of, &claims, care).await?;
    let problems = retain(of, &claims, &cluster, &id).await?;
    for (index, claim) in claims.iter().filter(|(_, claim)| is_removed(claim)) {
        finish(of, *index, claim, &cluster, &id, care).await?;
    }
    if care.whole {
        give_back(of, &id).await?;
    }
    Ok(problems)
}

/// Writes on each claim which node it holds, by the node's own word.
async fn note_members(
    of: &Kubernetes,
    claims: &BTreeMap<u32, Arc<PersistentVolumeClaim>>,
    care: &Care,
) -> Result<(), SubstrateError> {
    for (index, node) in &care.members {
        let Some(claim) = claims.get(index) else { continue };
        if annotation(claim.as_ref(), NODE_ID) != Some(node.to_string().as_str()) {
            of.objects.merge(claim.as_ref(), json!({"metadata": {"annotations": {NODE_ID: node.to_string()}}})).await?;
        }
    }
    Ok(())
}

/// Sets bound volumes to Retain when they are first seen: who deletes a namespace deletes its claims.
async fn retain(
    of: &Kubernetes,
    claims: &BTreeMap<u32, Arc<PersistentVolumeClaim>>,
    cluster: &StorageCluster,
    id: &str,
) -> Result<Vec<Problem>, SubstrateError> {
    if cluster.spec.deletion_policy != DeletionPolicy::Retain {
        return Ok(Vec::new());
    }
    for claim in claims.values() {
        let uid = claim.uid().unwrap_or_default();
        if of.memory.lock().retained.contains(&uid) {
            continue;
        }
        let done = match of.volumes.of(claim).await {
            Ok(Some(volume)) => of.volumes.retain(&volume, id).await.map(|()| true),
            Ok(None) => Ok(false),
            Err(error) => Err(error),
        };
        match done {
            Ok(true) => drop(of.memory.lock().retained.insert(uid)),
            Ok(false) => {}
            Err(SubstrateError::Forbidden { message, .. }) => {
                let message = format!(
                    "volumes cannot be set to Retain, so whoever deletes the claims or the namespace may delete the \
                     data: {message}"
                );
                return Ok(vec![Problem { reason: "VolumesUnguarded", message }]);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Vec::new())
}

/// Goes on with a place that was given up: its set goes, and with whenScaled Delete then its claim.
async fn finish(
    of: &Kubernetes,
    index: u32,
    claim: &PersistentVolumeClaim,
    cluster: &StorageCluster,
    id: &str,
    care: &Care,
) -> Result<(), SubstrateError> {
    let sets = by_index(of.caches.sets(&of.objects.name, &of.name));
    if let Some(set) = sets.get(&index).filter(|set| annotation(set.as_ref(), CLUSTER_ID) == Some(id)) {
        of.objects.delete::<StatefulSet>(set, false).await?;
    }
    if cluster.spec.storage.when_scaled != DiskPolicy::Delete || claim.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let name = names::pod(&of.name, index);
    if by_index(of.caches.pods(&of.objects.name, &of.name)).contains_key(&index)
        || of.objects.get::<Pod>(&name).await?.is_some()
    {
        return Ok(());
    }
    // Whatever becomes of the cluster before every shard is whole, this copy can still be had back by hand. Without the
    // right to see to that, the claim is left until they are.
    match guard(of, claim, id).await {
        Err(SubstrateError::Forbidden { .. }) if care.whole => {}
        Err(SubstrateError::Forbidden { .. }) => return Ok(()),
        done => done?,
    }
    of.objects.delete(claim, true).await?;
    of.memory.lock().given_back = None;
    Ok(())
}

/// Sets the claim's volume, if it has one, to Retain.
async fn guard(of: &Kubernetes, claim: &PersistentVolumeClaim, id: &str) -> Result<(), SubstrateError> {
    match of.volumes.of(claim).await? {
        Some(volume) => of.volumes.retain(&volume, id).await,
        None => Ok(()),
    }
}

/// Gives volumes whose claim is gone their own policy back.
async fn give_back(of: &Kubernetes, id: &str) -> Result<(), SubstrateError> {
    if of.memory.lock().given_back.is_some_and(|at| at.elapsed() < GIVE_BACK) {
        return Ok(());
    }
    let claims = all_claims(of).await?;
    let abandoned = match of.volumes.abandoned(id, &claims).await {
        Ok(abandoned) => abandoned,
        // It could not change any either.
        Err(SubstrateError::Forbidden { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    for volume in &abandoned {
        tracing::info!(
            volume = volume.name_any(),
            "its claim is gone and every shard is whole: its policy is given back"
        );
        of.volumes.give_back(volume).await?;
    }
    // A claim on its way out holds its volume for a moment more: then the next round looks again.
    let leaving = claims.iter().any(|claim| claim.metadata.deletion_timestamp.is_some());
    of.memory.lock().given_back = (!leaving).then(Instant::now);
    Ok(())
}

/// Read uncached.
pub(super) async fn all_claims(of: &Kubernetes) -> Result<Vec<PersistentVolumeClaim>, SubstrateError> {
    let selector = selector(&of.name);
    let listed = of.objects.api().list(&ListParams::default().labels(&selector)).await;
    listed.map(|list| list.items).map_err(|error| failed::<PersistentVolumeClaim>("list", &selector, error))
}
