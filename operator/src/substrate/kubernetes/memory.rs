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

/// Begins the key of a problem of a place's claim.
pub const CLAIM: &str = "claim ";
/// Begins the key of a problem of a place's set.
pub const SET: &str = "set ";

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

    /// The problems to be told now. Those of places are forgotten with that: they are found again in each round in which
    /// the place is still to be started.
    pub fn tell(&mut self) -> Vec<Problem> {
        let told = self.problems.values().cloned().collect();
        self.problems.retain(|key, _| !key.starts_with(CLAIM) && !key.starts_with(SET));
        told
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_of_a_place_is_told_once_for_each_time_it_is_found_and_others_until_they_are_gone() {
        let spec = serde_json::json!({"replicas": 3, "replicationFactor": 3, "image": "granary:0.1.0"});
        let cluster = StorageCluster::new("demo", serde_json::from_value(spec).unwrap());
        let mut memory = Memory::new(Arc::new(cluster));
        let problem = || Some(Problem { reason: "NameTaken", message: "by another".into() });
        memory.note(format!("{SET}demo-node-3"), problem());
        memory.note("Service demo-client".into(), problem());
        assert_eq!(memory.tell().len(), 2);
        assert_eq!(memory.tell().len(), 1, "nobody starts that place any more");
        memory.note("Service demo-client".into(), None);
        assert_eq!(memory.tell(), []);
    }
}
