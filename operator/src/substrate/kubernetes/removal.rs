//! The end of a cluster whose data goes with it (deletionPolicy Delete): sets first, then, when no pod is left, the
//! claims, each with its volume's own policy given back. Every call goes on where the last one stood.

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kube::{ResourceExt as _, api::ListParams};

use super::{
    Kubernetes,
    api::{Object, annotation, failed},
    claims::all_claims,
    names::{CLUSTER_ID, selector},
};
use crate::substrate::SubstrateError;

impl Kubernetes {
    /// Deletes the cluster's data, by its cluster id; true once all of it is gone.
    ///
    /// # Errors
    /// The API server did not do a part of it.
    pub async fn delete_data(&self) -> Result<bool, SubstrateError> {
        let Some(id) = self.identity().cluster_id else { return Ok(true) };
        let is_ours = |found: Option<&str>| found == Some(id.as_str());
        let mut sets = list::<StatefulSet>(self).await?;
        sets.retain(|set| is_ours(annotation(set, CLUSTER_ID)));
        for set in &sets {
            self.objects.delete(set, false).await?;
        }
        if !sets.is_empty() || !list::<Pod>(self).await?.is_empty() {
            return Ok(false);
        }
        let mut claims = all_claims(self).await?;
        claims.retain(|claim| is_ours(annotation(claim, CLUSTER_ID)));
        for claim in claims.iter().filter(|claim| claim.metadata.deletion_timestamp.is_none()) {
            match self.volumes.of(claim).await {
                Ok(Some(volume)) => self.volumes.give_back(&volume).await?,
                // Without the right it was never changed either.
                Ok(None) | Err(SubstrateError::Forbidden { .. }) => {}
                Err(error) => return Err(error),
            }
            tracing::info!(claim = claim.name_any(), "deleted, as deletionPolicy is Delete");
            self.objects.delete(claim, false).await?;
        }
        Ok(claims.is_empty())
    }
}

/// All of the cluster, read uncached.
async fn list<K: Object>(of: &Kubernetes) -> Result<Vec<K>, SubstrateError> {
    let selector = selector(&of.name);
    let listed = of.objects.api::<K>().list(&ListParams::default().labels(&selector)).await;
    listed.map(|list| list.items).map_err(|error| failed::<K>("list", &selector, error))
}
