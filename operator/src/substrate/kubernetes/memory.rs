//! What this process remembers of one cluster between rounds. All of it can be found out again: a new process begins
//! with nothing and goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use granary_crds::StorageCluster;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::ResourceExt as _;

use super::identity::Identity;
use crate::substrate::Problem;

/// See the module.
pub struct Memory {
    pub cluster: Arc<StorageCluster>,
    pub identity: Identity,
    /// What was applied last of the objects that every cluster has, by kind and name: hash and time.
    pub applied: BTreeMap<String, (u64, Instant)>,
    /// Problems of single objects, by kind and name, until the same call succeeds.
    pub problems: BTreeMap<String, Problem>,
    /// Uids of claims whose volume is set to Retain.
    pub retained: BTreeSet<String>,
    /// Volumes as they were read, by the claim's uid: where a volume is does not change.
    pub volumes: BTreeMap<String, PersistentVolume>,
    /// When a pod was touched last, by index.
    pub touched: BTreeMap<u32, Instant>,
    /// When it was last looked for volumes without a claim whose policy is to be given back; `None`: not yet, or there
    /// may be some.
    pub given_back: Option<Instant>,
    /// What the storage class was found to be, and when.
    pub class: Option<(Instant, super::grow::Class)>,
}

impl Memory {
    pub fn new(cluster: Arc<StorageCluster>) -> Self {
        Self {
            identity: Identity::written(&cluster),
            cluster,
            applied: BTreeMap::new(),
            problems: BTreeMap::new(),
            retained: BTreeSet::new(),
            volumes: BTreeMap::new(),
            touched: BTreeMap::new(),
            given_back: None,
            class: None,
        }
    }

    /// The newest object that a watch or a change of our own gave.
    pub fn follow(&mut self, cluster: Arc<StorageCluster>) {
        self.identity = std::mem::take(&mut self.identity).or(Identity::written(&cluster));
        // A watch may be behind what this process wrote itself; the spec is then not newer either.
        let version = |cluster: &StorageCluster| cluster.resource_version().and_then(|version| version.parse().ok());
        if version(&cluster) >= version(&self.cluster).or(Some(0u64))
            || cluster.metadata.generation > self.cluster.metadata.generation
        {
            self.cluster = cluster;
        }
    }

    /// Keeps or clears the problem of one object.
    pub fn note(&mut self, key: String, problem: Option<Problem>) {
        match problem {
            Some(problem) => self.problems.insert(key, problem),
            None => self.problems.remove(&key),
        };
    }

    /// Whether at least `pause` has passed since the pod was touched; if so, it counts as touched now.
    pub fn may_touch(&mut self, index: u32, pause: Duration) -> bool {
        let now = Instant::now();
        let due = self.touched.get(&index).is_none_or(|last| now.duration_since(*last) >= pause);
        if due {
            self.touched.insert(index, now);
        }
        due
    }
}
