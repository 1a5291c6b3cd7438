//! Reclaim policies of volumes: flipped to Retain while data must outlive its claim, and given back when it need not.
//! The policy from before is noted on the volume itself, so that any later process can give it back.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{
    api::{annotation, failed},
    names::{CLUSTER_ID, LABEL_CLUSTER, LABEL_MANAGED_BY, LABEL_NAMESPACE, MANAGER, RECLAIM_POLICY, selector},
};
use crate::substrate::SubstrateError;

const RETAIN: &str = "Retain";

/// Whose volumes.
#[derive(Clone)]
pub struct Volumes {
    client: Client,
    namespace: String,
    cluster: String,
}

impl Volumes {
    pub fn new(client: Client, namespace: String, cluster: String) -> Self {
        Self { client, namespace, cluster }
    }

    fn api(&self) -> Api<PersistentVolume> {
        Api::all(self.client.clone())
    }

    /// The volume that a claim is bound to, read uncached.
    pub async fn of(&self, claim: &PersistentVolumeClaim) -> Result<Option<PersistentVolume>, SubstrateError> {
        let Some(name) = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()) else { return Ok(None) };
        self.api().get_opt(name).await.map_err(|error| failed::<PersistentVolume>("read", name, error))
    }

    /// Sets a volume of this cluster to Retain, and notes what it was.
    pub async fn retain(&self, volume: &PersistentVolume, cluster_id: &str) -> Result<(), SubstrateError> {
        let policy = policy(volume);
        if policy == Some(RETAIN) {
            return Ok(());
        }
        let labels = json!({LABEL_MANAGED_BY: MANAGER, LABEL_CLUSTER: self.cluster, LABEL_NAMESPACE: self.namespace});
        let annotations = json!({RECLAIM_POLICY: policy, CLUSTER_ID: cluster_id});
        let patch = json!({
            "metadata": {"labels": labels, "annotations": annotations},
            "spec": {"persistentVolumeReclaimPolicy": RETAIN},
        });
        self.patch(volume, patch).await
    }

    /// Gives a volume its own policy back.
    pub async fn give_back(&self, volume: &PersistentVolume) -> Result<(), SubstrateError> {
        let Some(policy) = annotation(volume, RECLAIM_POLICY) else { return Ok(()) };
        let labels = json!({LABEL_MANAGED_BY: null, LABEL_CLUSTER: null, LABEL_NAMESPACE: null});
        let patch = json!({
            "metadata": {"labels": labels, "annotations": {RECLAIM_POLICY: null, CLUSTER_ID: null}},
            "spec": {"persistentVolumeReclaimPolicy": policy},
        });
        self.patch(volume, patch).await
    }

    /// Volumes of this cluster whose policy was changed and whose claim is gone: the uid of the claim that each was
    /// bound to tells, as another claim of that name is another disk.
    pub async fn abandoned(
        &self,
        cluster_id: &str,
        claims: &[PersistentVolumeClaim],
    ) -> Result<Vec<PersistentVolume>, SubstrateError> {
        let selector = format!("{},{LABEL_NAMESPACE}={}", selector(&self.cluster), self.namespace);
        let listed = self.api().list(&ListParams::default().labels(&selector)).await;
        let listed = listed.map_err(|error| failed::<PersistentVolume>("list", &selector, error))?;
        let is_claimed = |volume: &PersistentVolume| {
            let uid = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()?.uid.clone());
            claims.iter().any(|claim| claim.uid() == uid)
        };
        let ours = |volume: &PersistentVolume| annotation(volume, CLUSTER_ID) == Some(cluster_id);
        Ok(listed.into_iter().filter(|volume| ours(volume) && !is_claimed(volume)).collect())
    }

    async fn patch(&self, volume: &PersistentVolume, mut patch: serde_json::Value) -> Result<(), SubstrateError> {
        let name = volume.name_any();
        patch["metadata"]["resourceVersion"] = json!(volume.resource_version());
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let done = self.api().patch(&name, &params, &Patch::Merge(patch)).await;
        done.map(drop).map_err(|error| failed::<PersistentVolume>("change", &name, error))
    }
}

/// What becomes of the volume when its claim is deleted.
fn policy(volume: &PersistentVolume) -> Option<&str> {
    volume.spec.as_ref()?.persistent_volume_reclaim_policy.as_deref()
}
