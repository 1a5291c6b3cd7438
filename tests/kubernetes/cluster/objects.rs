//! The Kubernetes objects of a cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
};
use kube::{Api, ResourceExt as _, api::ListParams};

use super::Cluster;
use crate::failure::{Failure, Result};

/// Port of the data API.
pub const KV_PORT: u16 = 7001;
/// Port of Admin.
pub const PEER_PORT: u16 = 7002;

impl Cluster {
    /// Labels that all of its objects carry.
    fn selector(&self) -> ListParams {
        ListParams::default().labels(&format!("granary.io/cluster={}", self.name))
    }

    /// Its pods, by name.
    pub async fn pods(&self) -> Result<BTreeMap<String, Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = pods.list(&self.selector()).await?;
        Ok(found.into_iter().map(|pod| (pod.name_any(), pod)).collect())
    }

    /// Its claims, by name, those that were given up too.
    pub async fn claims(&self) -> Result<BTreeMap<String, PersistentVolumeClaim>> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = claims.list(&self.selector()).await?;
        Ok(found.into_iter().map(|claim| (claim.name_any(), claim)).collect())
    }

    /// Its StatefulSets, by name.
    pub async fn sets(&self) -> Result<BTreeMap<String, StatefulSet>> {
        let sets: Api<StatefulSet> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = sets.list(&self.selector()).await?;
        Ok(found.into_iter().map(|set| (set.name_any(), set)).collect())
    }

    /// The volume that a claim is bound to.
    pub async fn volume_of(&self, claim: &str) -> Result<PersistentVolume> {
        let claims = self.claims().await?;
        let bound = claims.get(claim).and_then(|claim| claim.spec.as_ref()?.volume_name.clone());
        let name = bound.ok_or_else(|| Failure(format!("the claim {claim} is not there or not bound")))?;
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        Ok(volumes.get(&name).await?)
    }

    /// Uid of each pod, and how often its container was started anew: equal maps mean that no pod was restarted.
    pub async fn runs(&self) -> Result<BTreeMap<String, (String, i32)>> {
        let restarts = |pod: &Pod| {
            let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
            statuses.map(|one| one.restart_count).sum()
        };
        let pods = self.pods().await?;
        Ok(pods.iter().map(|(name, pod)| (name.clone(), (pod.uid().unwrap_or_default(), restarts(pod)))).collect())
    }

    /// The Kubernetes node that a pod is on.
    pub async fn machine_of(&self, pod: &str) -> Result<String> {
        let pods = self.pods().await?;
        let node = pods.get(pod).and_then(|pod| pod.spec.as_ref()?.node_name.clone());
        node.ok_or_else(|| Failure(format!("the pod {pod} is not there or on no Kubernetes node")))
    }

    /// Addresses of the pods that have one and are not on their way out, with a port.
    pub(super) async fn addresses(&self, port: u16) -> Result<Vec<String>> {
        let pods = self.pods().await?;
        let with_address = pods.values().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let addresses = with_address.filter_map(|pod| pod.status.as_ref()?.pod_ip.clone());
        Ok(addresses.map(|ip| format!("{ip}:{port}")).collect())
    }

    /// Where clients begin: the pods, and the headless Service in case all of them move.
    pub async fn endpoints(&self) -> Result<Vec<String>> {
        let mut endpoints = self.addresses(KV_PORT).await?;
        endpoints.push(format!("{}-nodes.{}.svc.cluster.local:{KV_PORT}", self.name, self.namespace));
        Ok(endpoints)
    }
}
