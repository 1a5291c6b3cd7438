//! What the StorageCluster keeps of its cluster: its id, whether it was founded, the content of Bootstrap. Each is
//! written over the object as it was read just now, so that two writers never pass each other unseen.

use std::sync::Arc;

use granary_crds::StorageCluster;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::ListParams;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Kubernetes,
    api::{annotation, failed},
    identity::Identity,
    names::{BOOTSTRAPPED, CLUSTER_ID, FOUNDING, selector},
};
use crate::substrate::{Founding, Problem, SubstrateError};

/// A new id, or the one of the claims of this name: read uncached, as an id is minted once.
pub async fn mint(of: &Kubernetes) -> Result<(), SubstrateError> {
    let cluster = read(of).await?;
    let written = Identity::written(&cluster);
    if written.cluster_id.is_some() {
        of.follow(Arc::new(cluster));
        return Ok(());
    }
    let selector = selector(&of.name);
    let claims = of.objects.api::<PersistentVolumeClaim>().list(&ListParams::default().labels(&selector)).await;
    let claims = claims.map_err(|error| failed::<PersistentVolumeClaim>("list", &selector, error))?;
    let claims: Vec<_> = claims.into_iter().map(Arc::new).collect();
    let known = Identity::of_claims(claims.iter()).map_err(|problem| SubstrateError::Place(problem.message))?;
    let id = known.cluster_id.unwrap_or_else(|| Uuid::new_v4().to_string());
    let mut annotations = json!({CLUSTER_ID: id});
    if known.founded {
        annotations[BOOTSTRAPPED] = json!("true");
    }
    annotate(of, &cluster, annotations).await
}

/// Writes what was found out from the claims of a StorageCluster that was made anew.
pub async fn adopt(of: &Kubernetes) -> Result<Vec<Problem>, SubstrateError> {
    let (cluster, identity) = (of.cluster(), of.identity());
    let mut annotations = json!({});
    if let (Some(id), None) = (&identity.cluster_id, annotation(cluster.as_ref(), CLUSTER_ID)) {
        annotations[CLUSTER_ID] = json!(id);
    }
    if identity.founded && annotation(cluster.as_ref(), BOOTSTRAPPED).is_none() {
        annotations[BOOTSTRAPPED] = json!("true");
    }
    if annotations != json!({}) {
        let fresh = read(of).await?;
        // Another id was written meanwhile: that one counts, and this process learns it from there.
        let other = annotation(&fresh, CLUSTER_ID).is_some_and(|id| Some(id) != identity.cluster_id.as_deref());
        if !other {
            annotate(of, &fresh, annotations).await?;
        }
    }
    Ok(Vec::new())
}

/// See [`crate::substrate::Substrate::keep_founding`].
pub async fn keep(of: &Kubernetes, founding: Founding, replace: bool) -> Result<Founding, SubstrateError> {
    let cluster = read(of).await?;
    match Identity::written(&cluster).founding {
        Some(kept) if !replace || kept == founding => {
            of.memory.lock().identity.founding = Some(kept.clone());
            Ok(kept)
        }
        _ => {
            let text = serde_json::to_string(&founding)
                .map_err(|error| SubstrateError::Damaged(format!("the content of Bootstrap: {error}")))?;
            annotate(of, &cluster, json!({FOUNDING: text})).await?;
            of.memory.lock().identity.founding = Some(founding.clone());
            Ok(founding)
        }
    }
}

/// See [`crate::substrate::Substrate::note_founded`].
pub async fn note_founded(of: &Kubernetes) -> Result<(), SubstrateError> {
    let cluster = read(of).await?;
    annotate(of, &cluster, json!({BOOTSTRAPPED: "true"})).await
}

/// The StorageCluster as it is now; another one of the same name is not it.
async fn read(of: &Kubernetes) -> Result<StorageCluster, SubstrateError> {
    let uid = of.cluster().metadata.uid.clone();
    let found = of.objects.get::<StorageCluster>(&of.name).await?.filter(|cluster| cluster.metadata.uid == uid);
    found.ok_or_else(|| SubstrateError::Place(format!("the StorageCluster {} is gone", of.name)))
}

async fn annotate(of: &Kubernetes, cluster: &StorageCluster, annotations: Value) -> Result<(), SubstrateError> {
    let changed = of.objects.merge(cluster, json!({"metadata": {"annotations": annotations}})).await?;
    of.follow(Arc::new(changed));
    Ok(())
}
