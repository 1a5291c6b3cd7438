//! The Kubernetes objects of a cluster, made from its spec by pure functions. They know no API server and no state of
//! the cluster: what is there, and whether a rendered object may be sent, is decided elsewhere.
//!
//! All objects but the claims are owned by the StorageCluster and vanish with it. Claims hold the data and stay.

mod access;
mod budget;
mod claim;
mod fields;
mod overlay;
mod services;
mod statefulset;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use granary_crds::{StorageCluster, StorageClusterSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::Resource as _;

pub use self::{
    access::{network_policy, service_account},
    budget::budget,
    claim::claim,
    fields::{template_fields, template_hash, why_changed},
    overlay::{TemplateError, merge},
    services::{client_service, headless_service},
    statefulset::statefulset,
    template::pod_template,
};
use super::names;

/// Port of the data API, health and reflection.
pub const KV_PORT: u16 = 7001;
/// Port for other nodes and the operator.
pub const PEER_PORT: u16 = 7002;
/// Port of metrics and probes over plain HTTP.
pub const METRICS_PORT: u16 = 7003;

/// Names of the ports, in the pod and in its Services.
mod port_names {
    pub const KV: &str = "kv";
    pub const PEER: &str = "peer";
    pub const METRICS: &str = "metrics";
}

/// The cluster that objects are made of.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name, at most 40 characters.
    pub name: &'a str,
    /// Uid of the StorageCluster.
    pub uid: &'a str,
    /// The cluster id, which outlives the StorageCluster.
    pub cluster_id: &'a str,
    /// Domain of the Kubernetes cluster, such as cluster.local.
    pub cluster_domain: &'a str,
    /// What the user asks for.
    pub spec: &'a StorageClusterSpec,
    /// Value of the annotation that asks for a restart.
    pub restart: Option<&'a str>,
}

/// The owner of all objects but the claims.
pub fn owner(of: &Of<'_>) -> OwnerReference {
    OwnerReference {
        api_version: StorageCluster::api_version(&()).into_owned(),
        kind: StorageCluster::kind(&()).into_owned(),
        name: of.name.to_owned(),
        uid: of.uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Metadata of an object that vanishes with the StorageCluster.
fn owned(of: &Of<'_>, name: String) -> ObjectMeta {
    ObjectMeta { owner_references: Some(vec![owner(of)]), ..kept(of, name) }
}

/// Metadata of an object that stays when the StorageCluster goes.
fn kept(of: &Of<'_>, name: String) -> ObjectMeta {
    let mut labels = cluster_labels(of);
    labels.insert(names::LABEL_NAME.to_owned(), names::APP.to_owned());
    ObjectMeta {
        name: Some(name),
        namespace: Some(of.namespace.to_owned()),
        labels: Some(labels),
        annotations: Some(one(names::CLUSTER_ID, of.cluster_id)),
        ..ObjectMeta::default()
    }
}

/// The same with the label of one place.
fn of_place(mut metadata: ObjectMeta, index: u32) -> ObjectMeta {
    metadata.labels.get_or_insert_default().insert(names::LABEL_NODE.to_owned(), names::place(index));
    metadata
}

/// What every pod of the cluster has, and no other pod. Selectors are made of it, and they can never be changed.
fn cluster_labels(of: &Of<'_>) -> BTreeMap<String, String> {
    let mut labels = one(names::LABEL_MANAGED_BY, names::MANAGER);
    labels.insert(names::LABEL_CLUSTER.to_owned(), of.name.to_owned());
    labels
}

/// What the pod of one place has, and no other pod.
fn place_labels(of: &Of<'_>, index: u32) -> BTreeMap<String, String> {
    let mut labels = cluster_labels(of);
    labels.insert(names::LABEL_NODE.to_owned(), names::place(index));
    labels
}

fn matching(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}

fn one(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}
