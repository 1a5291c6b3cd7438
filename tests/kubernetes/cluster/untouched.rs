//! What must be as it was: pods, claims with the volumes that they are bound to, and those volumes' policies. Also what
//! the status is waited for to say.

use std::collections::BTreeMap;

use granary_crds::StorageCluster;
use kube::ResourceExt as _;

use super::{Cluster, LIMIT, reason};
use crate::failure::Result;

/// The objects that hold data, and those that serve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objects {
    /// Uid of each pod, by name.
    pub pods: BTreeMap<String, String>,
    /// Uid of each claim, and its volume, by name.
    pub claims: BTreeMap<String, (String, String)>,
    /// Reclaim policy of each of these volumes.
    pub policies: BTreeMap<String, String>,
}

impl Cluster {
    /// What there is now.
    pub async fn objects(&self) -> Result<Objects> {
        let pods = self.runs().await?.into_iter().map(|(name, (uid, _))| (name, uid)).collect();
        let (mut claims, mut policies) = (BTreeMap::new(), BTreeMap::new());
        for (name, claim) in self.claims().await? {
            let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).unwrap_or_default();
            if !volume.is_empty() {
                let spec = self.volume_of(&name).await?.spec.unwrap_or_default();
                policies.insert(volume.clone(), spec.persistent_volume_reclaim_policy.unwrap_or_default());
            }
            claims.insert(name, (claim.uid().unwrap_or_default(), volume));
        }
        Ok(Objects { pods, claims, policies })
    }

    /// The cluster id that the operator wrote on the StorageCluster.
    pub async fn cluster_id(&self) -> Result<String> {
        Ok(self.get().await?.annotations().get("granary.io/cluster-id").cloned().unwrap_or_default())
    }

    /// Waits until the condition Degraded is True for this reason; gives its message.
    pub async fn degraded(&self, why: &str) -> Result<String> {
        let wanted = |cluster: &StorageCluster| reason(cluster, "Degraded", why).map(drop);
        let found = self.wait_for(&format!("Degraded because {why}"), LIMIT, wanted).await?;
        Ok(reason(&found, "Degraded", why).unwrap_or_default())
    }

    /// Waits until a line of `status.waiting` begins with this word; gives the line.
    pub async fn waits(&self, word: &str) -> Result<String> {
        let lines = |cluster: &StorageCluster| {
            let lines = cluster.status.iter().flat_map(|status| &status.waiting);
            lines.filter(|line| line.starts_with(&format!("{word}: "))).cloned().collect::<Vec<_>>().join("\n")
        };
        let wanted = |cluster: &StorageCluster| {
            if lines(cluster).is_empty() { Err("it does not".to_owned()) } else { Ok(()) }
        };
        let found = self.wait_for(&format!("waiting for {word}"), LIMIT, wanted).await?;
        Ok(lines(&found))
    }
}
