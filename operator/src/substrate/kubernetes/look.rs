//! From the objects of a cluster to what the planner is told. Pure: all reading was done before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use granary_planner::observed::{Disk, Domains, Place, Process, Seen};
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{Node, PersistentVolumeClaim, Pod},
    },
    jiff::Timestamp,
};
use kube::ResourceExt as _;

use super::{
    api::{annotation, label},
    growth,
    identity::Identity,
    names::{self, CLUSTER_ID, LABEL_NODE, NODE_ID, REMOVED, RESTART_REASON},
    objects::{KV_PORT, PEER_PORT},
    pods,
};
use crate::substrate::{Kept, Look, Problem, Storage};

const ZONE: &str = "topology.kubernetes.io/zone";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// Everything that was read.
pub struct Objects {
    pub namespace: String,
    pub identity: Identity,
    pub draining: Vec<u64>,
    pub sets: BTreeMap<u32, Arc<StatefulSet>>,
    pub pods: BTreeMap<u32, Arc<Pod>>,
    pub claims: BTreeMap<u32, Arc<PersistentVolumeClaim>>,
    /// By name; `None` without the right to read them.
    pub nodes: Option<BTreeMap<String, Arc<Node>>>,
    /// Places whose claim was read by name and is not there.
    pub lost_claims: BTreeSet<u32>,
    /// Places whose volume no Kubernetes node can use any more.
    pub lost_volumes: BTreeSet<u32>,
    /// What spec.storage.size asks for.
    pub size: String,
    pub now: Timestamp,
}

/// By index of the place, by their label; what has none is nobody's.
pub fn by_index<K: kube::Resource>(objects: Vec<Arc<K>>) -> BTreeMap<u32, Arc<K>> {
    let index = |object: &Arc<K>| names::index(label(object.as_ref(), LABEL_NODE)?);
    objects.into_iter().filter_map(|object| Some((index(&object)?, object))).collect()
}

impl Objects {
    /// What the substrate says in this round.
    pub fn look(&self) -> Look {
        let mut indexes: BTreeSet<u32> = self.sets.keys().chain(self.claims.keys()).copied().collect();
        let (mut taken, mut problems) = (Vec::new(), Vec::new());
        indexes.retain(|index| {
            if let Some(claim) = self.claims.get(index).filter(|claim| !self.is_ours(claim.as_ref())) {
                problems.push(self.foreign(claim));
            } else if !self.claims.get(index).is_some_and(|claim| is_removed(claim)) {
                // A claim that is there and of no use keeps its name, which no new one can have.
                if self.lost_volumes.contains(index) {
                    taken.push(*index);
                }
                return true;
            }
            taken.push(*index);
            false
        });
        let places: Vec<Place> = indexes.iter().map(|index| self.place(*index)).collect();
        for index in &indexes {
            let pod = self.pods.get(index);
            problems.extend(pod.and_then(|pod| pods::problem(&names::place(*index), pod, self.now)));
        }
        Look {
            cluster_id: self.identity.cluster_id.clone(),
            founded: self.identity.founded,
            founding: self.identity.founding.clone(),
            places,
            draining: self.draining.clone(),
            taken,
            kept: self.kept(),
            storage: self.storage(),
            notes: self.notes(),
            problems,
        }
    }

    fn is_ours<K: kube::Resource>(&self, object: &K) -> bool {
        let id = annotation(object, CLUSTER_ID);
        id.is_some() && id == self.identity.cluster_id.as_deref()
    }

    fn foreign(&self, claim: &PersistentVolumeClaim) -> Problem {
        let (name, namespace) = (claim.name_any(), &self.namespace);
        let theirs = annotation(claim, CLUSTER_ID).unwrap_or("no cluster");
        let ours = self.identity.cluster_id.as_deref().unwrap_or("none yet");
        Problem {
            reason: "ForeignClaim",
            message: format!(
                "the claim {name} belongs to {theirs}, this cluster is {ours}: it is left alone; when its data is of no \
                 use: kubectl -n {namespace} delete pvc {name}"
            ),
        }
    }

    fn kept(&self) -> Option<Kept> {
        let kept = self.claims.values().filter(|claim| is_removed(claim) && self.is_ours(claim.as_ref()));
        let names: Vec<String> = kept.map(|claim| claim.name_any()).collect();
        (!names.is_empty()).then(|| Kept {
            count: u32::try_from(names.len()).unwrap_or(u32::MAX),
            command: format!("kubectl -n {} delete pvc {}", self.namespace, names.join(" ")),
        })
    }

    fn storage(&self) -> Storage {
        let claims = self.claims.values().filter(|claim| self.is_ours(claim.as_ref()) && !is_removed(claim));
        growth::told(&self.size, claims.map(Arc::as_ref))
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.nodes.is_none() {
            notes.push(
                "the operator may not read Kubernetes nodes: copies are not spread over zones by the planner, and a \
                 removed machine is only noticed by silence"
                    .to_owned(),
            );
        }
        notes
    }

    fn place(&self, index: u32) -> Place {
        let pod = self.pods.get(&index).map(Arc::as_ref);
        let lost = self.lost_claims.contains(&index) || self.lost_volumes.contains(&index);
        let process = match pods::process(pod) {
            // Nothing will start there by itself: a claim has to be made first, or its pod a set.
            Seen::Fresh(Process::Starting) if self.lost_claims.contains(&index) => Seen::Fresh(Process::Stopped),
            Seen::Fresh(Process::Starting) if !self.sets.contains_key(&index) => Seen::Fresh(Process::Stopped),
            process => process,
        };
        let running = process == Seen::Fresh(Process::Running);
        let ip = pod.and_then(pods::ip).filter(|_| running);
        let machine = self.machine(index);
        let node = machine.as_ref().and_then(|machine| self.nodes.as_ref()?.get(machine));
        Place {
            index,
            name: names::place(index),
            process,
            disk: if lost && !running { Seen::Fresh(Disk::Gone) } else { self.disk(index) },
            peer_address: ip.map(|ip| pods::address(ip, PEER_PORT)),
            kv_address: ip.map(|ip| pods::address(ip, KV_PORT)),
            domains: Domains {
                zone: node.and_then(|node| label(node.as_ref(), ZONE)).unwrap_or_default().to_owned(),
                machine: machine.unwrap_or_default(),
            },
            restart: self.restart(index),
            cordoned: node.is_some_and(|node| is_cordoned(node)),
        }
    }

    /// The Kubernetes node of the pod, or the one that its volume was made for.
    fn machine(&self, index: u32) -> Option<String> {
        let pod = self.pods.get(&index).and_then(|pod| pods::kubernetes_node(pod));
        let claim = || self.claims.get(&index).and_then(|claim| annotation(claim.as_ref(), SELECTED_NODE));
        pod.or_else(claim).map(str::to_owned)
    }

    /// What its claim tells: good enough to know whose it was, never to do something destructive.
    fn disk(&self, index: u32) -> Seen<Disk> {
        let Some(claim) = self.claims.get(&index) else {
            return Seen::Unknown("its claim was not seen yet".into());
        };
        let id = annotation(claim.as_ref(), NODE_ID).and_then(|id| id.parse().ok());
        let bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
        match (id, &self.identity.cluster_id) {
            (Some(node_id), Some(cluster_id)) => Seen::Stale(Disk::Member { cluster_id: cluster_id.clone(), node_id }),
            // Without a volume there is no data.
            _ if !bound => Seen::Fresh(Disk::Blank { uuid: None }),
            _ => Seen::Unknown("its node was not asked".into()),
        }
    }

    /// Why the pod has to be made anew. On its way out it is still the old one while its process runs; after that there
    /// is nothing left to send away.
    fn restart(&self, index: u32) -> Option<String> {
        let (set, pod) = (self.sets.get(&index)?, self.pods.get(&index)?);
        let ended =
            pod.metadata.deletion_timestamp.is_some() && pods::process(Some(pod)).fresh() != Some(&Process::Running);
        outdated(set, pod).filter(|_| !ended)
    }
}

/// Why a pod is not as its set wants it: it is of another revision, and Kubernetes has looked at the newest one.
pub fn outdated(set: &StatefulSet, pod: &Pod) -> Option<String> {
    let status = set.status.as_ref()?;
    let current = status.observed_generation == set.metadata.generation;
    let revision = status.update_revision.as_deref().filter(|_| current)?;
    let reason = || annotation(set, RESTART_REASON).unwrap_or("its template changed").to_owned();
    pods::is_outdated(pod, revision).then(reason)
}

/// Whether the claim was given up.
pub fn is_removed(claim: &PersistentVolumeClaim) -> bool {
    annotation(claim, REMOVED).is_some()
}

fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false)
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;
