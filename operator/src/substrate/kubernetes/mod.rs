//! Kubernetes as a substrate: each place is a claim and a StatefulSet of one pod. Knows neither shards nor plans.
//!
//! ```text
//! caches ─► look (pure) ─► places, problems          steps ─► places     start, restart, retire
//!                                                    upkeep ─► common    services, budget, policy
//! identity: which cluster this is                           ├► templates what a pod shall be
//!                                                           ├► claims    node ids, removed ones
//!                                                           └► volumes   reclaim policy, growth
//! ```

mod api;
mod caches;
mod claims;
mod common;
mod founding;
mod grow;
mod growth;
mod identity;
mod look;
mod memory;
pub mod names;
pub mod objects;
mod places;
mod pods;
mod quantity;
mod reach;
mod removal;
mod sight;
mod templates;
mod volumes;

use std::sync::Arc;

use async_trait::async_trait;
use granary_crds::StorageCluster;
use kube::{Client, ResourceExt as _};
use parking_lot::Mutex;

pub use self::caches::{CacheError, Caches, Watches};
use self::{api::Namespace, identity::Identity, memory::Memory, objects::Of, volumes::Volumes};
use crate::substrate::{Care, Founding, Look, Problem, Start, Substrate, SubstrateError};

/// What all clusters of one operator share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Stable id of the installation.
    pub id: String,
    /// Namespace of the operator: its pods may reach the nodes' own ports.
    pub namespace: String,
    /// Domain of the cluster's DNS, such as cluster.local.
    pub cluster_domain: String,
}

/// One cluster on Kubernetes.
pub struct Kubernetes {
    client: Client,
    caches: Arc<Caches>,
    installation: Installation,
    objects: Namespace,
    volumes: Volumes,
    name: String,
    memory: Mutex<Memory>,
}

impl Kubernetes {
    /// Of one StorageCluster (one uid: made anew, it is another one).
    pub fn new(client: Client, caches: Arc<Caches>, installation: Installation, cluster: Arc<StorageCluster>) -> Self {
        let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
        Self {
            objects: Namespace::new(client.clone(), namespace.clone()),
            volumes: Volumes::new(client.clone(), namespace, name.clone()),
            client,
            caches,
            installation,
            name,
            memory: Mutex::new(Memory::new(cluster)),
        }
    }

    /// The newest StorageCluster, at the start of each round.
    pub fn follow(&self, cluster: Arc<StorageCluster>) {
        self.memory.lock().follow(cluster);
    }

    fn cluster(&self) -> Arc<StorageCluster> {
        self.memory.lock().cluster.clone()
    }

    fn identity(&self) -> Identity {
        self.memory.lock().identity.clone()
    }

    /// The cluster id, which is there before the first object is made.
    fn cluster_id(&self) -> Result<String, SubstrateError> {
        self.identity().cluster_id.ok_or_else(|| SubstrateError::Place("the cluster has no id yet".into()))
    }

    /// What objects are rendered from.
    fn of<'a>(&'a self, cluster: &'a StorageCluster, cluster_id: &'a str) -> Of<'a> {
        Of {
            namespace: &self.objects.name,
            name: &self.name,
            uid: cluster.metadata.uid.as_deref().unwrap_or_default(),
            cluster_id,
            cluster_domain: &self.installation.cluster_domain,
            spec: &cluster.spec,
            restart: api::annotation(cluster, names::RESTART),
        }
    }
}

#[async_trait]
impl Substrate for Kubernetes {
    fn installation(&self) -> String {
        self.installation.id.clone()
    }

    fn unsettled(&self) -> Option<String> {
        templates::unsettled(self)
    }

    async fn look(&self) -> Result<Look, SubstrateError> {
        sight::look(self).await
    }

    async fn mint_cluster_id(&self) -> Result<(), SubstrateError> {
        founding::mint(self).await
    }

    async fn keep_founding(&self, founding: Founding, replace: bool) -> Result<Founding, SubstrateError> {
        founding::keep(self, founding, replace).await
    }

    async fn note_founded(&self) -> Result<(), SubstrateError> {
        founding::note_founded(self).await
    }

    async fn start_node(&self, index: u32) -> Result<Start, SubstrateError> {
        places::start(self, index).await
    }

    async fn restart(&self, index: u32) -> Result<(), SubstrateError> {
        places::restart(self, index).await
    }

    async fn restart_starting(&self, index: u32) -> Result<(), SubstrateError> {
        places::restart_starting(self, index).await
    }

    async fn retire(&self, index: u32) -> Result<(), SubstrateError> {
        places::retire(self, index).await
    }

    async fn upkeep(&self, care: &Care) -> Result<Vec<Problem>, SubstrateError> {
        // Each part on its own: what one may not do does not keep another from being done.
        let mut problems = Vec::new();
        let parts = [
            founding::adopt(self).await,
            common::ensure(self, care).await,
            templates::follow(self).await,
            claims::tend(self, care).await,
            grow::volumes(self).await,
        ];
        let mut failed = None;
        for part in parts {
            match part {
                Ok(more) => problems.extend(more),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(problems), Err)
    }
}
