//! Reads what `look` judges: the caches, and by name and uncached whatever seems to be missing there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1::{Node, PersistentVolumeClaim},
    jiff::Timestamp,
};
use kube::{Api, ResourceExt as _, api::ListParams};

use super::{
    Kubernetes,
    api::{annotation, failed},
    identity::Identity,
    look::{Objects, by_index},
    names::{self, CLUSTER_ID, DRAIN},
    reach::is_reachable,
};
use crate::substrate::{Look, SubstrateError};

/// See [`crate::substrate::Substrate::look`].
pub async fn look(of: &Kubernetes) -> Result<Look, SubstrateError> {
    let (namespace, name) = (of.objects.name.as_str(), of.name.as_str());
    let claims = of.caches.claims(namespace, name);
    let mut ambiguous = None;
    if of.identity().cluster_id.is_none() {
        match Identity::of_claims(claims.iter()) {
            Ok(known) => {
                let mut memory = of.memory.lock();
                memory.identity = std::mem::take(&mut memory.identity).or(known);
            }
            Err(problem) => ambiguous = Some(problem),
        }
    }
    let identity = of.identity();
    let is_ours = |id: Option<&str>| id.is_some() && id == identity.cluster_id.as_deref();
    let mut sets = by_index(of.caches.sets(namespace, name));
    sets.retain(|_, set| is_ours(annotation(set.as_ref(), CLUSTER_ID)));
    let mut claims = by_index(claims);
    let lost_claims = lost_claims(of, &sets, &mut claims).await?;
    let nodes = of.caches.nodes().map(|nodes| nodes.into_iter().map(|node| (node.name_any(), node)).collect());
    let mut objects = Objects {
        namespace: namespace.to_owned(),
        identity,
        draining: draining(annotation(of.cluster().as_ref(), DRAIN).unwrap_or_default()),
        pods: by_index(of.caches.pods(namespace, name)),
        lost_volumes: BTreeSet::new(),
        sets,
        claims,
        nodes,
        lost_claims,
        size: of.cluster().spec.storage.size.clone(),
        now: Timestamp::now(),
    };
    objects.lost_volumes = lost_volumes(of, &objects).await?;
    let mut look = objects.look();
    look.problems.extend(ambiguous);
    look.problems.extend(of.memory.lock().tell());
    Ok(look)
}

/// Ids of nodes that a person wants drained; what is no number is none.
fn draining(text: &str) -> Vec<u64> {
    text.split(',').filter_map(|id| id.trim().parse().ok()).collect()
}

/// Of the places with a set and without a claim in the cache: those whose claim is not there by name either.
async fn lost_claims<T>(
    of: &Kubernetes,
    sets: &BTreeMap<u32, T>,
    claims: &mut BTreeMap<u32, Arc<PersistentVolumeClaim>>,
) -> Result<BTreeSet<u32>, SubstrateError> {
    let mut lost = BTreeSet::new();
    let missing: Vec<u32> = sets.keys().copied().filter(|index| !claims.contains_key(index)).collect();
    for index in missing {
        match of.objects.get::<PersistentVolumeClaim>(&names::object(&of.name, index)).await? {
            Some(claim) => drop(claims.insert(index, Arc::new(claim))),
            None => drop(lost.insert(index)),
        }
    }
    Ok(lost)
}

/// Places whose volume was on a machine that is no Kubernetes node any more. The cache tells whom to look at, and what
/// it says is read again, uncached, before it is believed.
async fn lost_volumes(of: &Kubernetes, objects: &Objects) -> Result<BTreeSet<u32>, SubstrateError> {
    let mut lost = BTreeSet::new();
    let Some(nodes) = &objects.nodes else { return Ok(lost) };
    let mut read: Option<Vec<Node>> = None;
    for (index, claim) in &objects.claims {
        let uid = claim.uid().unwrap_or_default();
        let known = of.memory.lock().volumes.get(&uid).cloned();
        let volume = match known {
            Some(volume) => volume,
            None => match of.volumes.of(claim).await {
                Ok(Some(volume)) => {
                    of.memory.lock().volumes.insert(uid, volume.clone());
                    volume
                }
                Ok(None) => continue,
                // Without the right to read volumes a removed machine is noticed by silence only.
                Err(SubstrateError::Forbidden { .. }) => return Ok(lost),
                Err(error) => return Err(error),
            },
        };
        if is_reachable(&volume, nodes.values().map(Arc::as_ref)) {
            continue;
        }
        if read.is_none() {
            read = Some(all_nodes(of).await?);
        }
        if !is_reachable(&volume, read.iter().flatten()) {
            lost.insert(*index);
        }
    }
    let mut memory = of.memory.lock();
    memory.volumes.retain(|uid, _| objects.claims.values().any(|claim| claim.uid().as_ref() == Some(uid)));
    Ok(lost)
}

async fn all_nodes(of: &Kubernetes) -> Result<Vec<Node>, SubstrateError> {
    let listed = Api::<Node>::all(of.client.clone()).list(&ListParams::default()).await;
    listed.map(|list| list.items).map_err(|error| failed::<Node>("list", "all", error))
}
