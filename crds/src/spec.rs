//! What a user asks for. Which values are allowed is not said here but in the table of `rules`.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Toleration, apimachinery::pkg::util::intstr::IntOrString};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::pods::{NetworkPolicy, PodSecurityContext, TopologySpread};
use crate::{
    pods::{self, Overlay},
    status::StorageClusterStatus,
};

/// A replicated, sharded storage cluster.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "granary.io",
    version = "v1alpha1",
    kind = "StorageCluster",
    plural = "storageclusters",
    shortname = "gsc",
    namespaced,
    status = "StorageClusterStatus",
    derive = "PartialEq",
    doc = "A replicated, sharded storage cluster.",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyNodes"),
    printcolumn(name = "Shards", type_ = "integer", json_path = ".status.shards"),
    printcolumn(name = "Leaders", type_ = "integer", json_path = ".status.shardsWithLeader"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Waiting", type_ = "string", json_path = ".status.waitingReason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Size", type_ = "string", json_path = ".spec.storage.size", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.plan[0]", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.waiting[0]", priority = 1),
    // How long ago somebody looked: more than a minute or so means that no operator runs.
    printcolumn(name = "Seen", type_ = "date", json_path = ".status.observedTime", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct StorageClusterSpec {
    /// Number of storage nodes, 1 to 100 and at least replicationFactor. Edit it to scale.
    pub replicas: i32,
    /// Copies of each shard: 1, 3 or 5. Fixed at creation.
    pub replication_factor: i32,
    /// Container image of the nodes, with a tag or a digest. Local mode runs the granary-node binary instead.
    #[schemars(length(max = 512))]
    pub image: String,
    /// Secrets for pulling the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<SecretName>,
    /// Number of shards, a power of two from 1 to 1024; about 8 to 16 for each node you may grow to. Fixed at creation.
    #[serde(default = "default_shards")]
    pub shards: i32,
    /// Disks of the nodes.
    #[serde(default)]
    pub storage: Storage,
    /// CPU and memory of each node. No CPU limit by default: throttling causes elections.
    #[serde(default)]
    pub resources: Resources,
    /// What becomes of the data when the StorageCluster is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// When a silent node is replaced.
    #[serde(default)]
    pub failover: Failover,
    /// Only observe and report; change nothing. Deletion still works.
    #[serde(default)]
    pub paused: bool,
    /// Labels that a Kubernetes node must have to run a storage node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "pods::label_map")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods bear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pods::tolerations")]
    pub tolerations: Vec<Toleration>,
    /// Affinity of the pods, as in a pod. The operator spreads the pods itself: see topologySpread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pods::affinity")]
    pub affinity: Option<Overlay>,
    /// How hard pods are spread over zones and Kubernetes nodes.
    #[serde(default)]
    pub topology_spread: TopologySpread,
    /// Priority class of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub priority_class_name: Option<String>,
    /// Labels added to the pods. Keys that begin with granary.io/ are the operator's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "pods::label_map")]
    pub pod_labels: BTreeMap<String, String>,
    /// Annotations added to the pods. Keys that begin with granary.io/ are the operator's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "pods::annotation_map")]
    pub pod_annotations: BTreeMap<String, String>,
    /// Ids that the pods run as. Left out: user, group and fsGroup 65532. Given: just what it says; {} sets no id, so that
    /// the platform chooses (OpenShift).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<PodSecurityContext>,
    /// Seconds that a pod has to hand over its leaders and stop, 10 to 3600.
    #[serde(default = "default_grace")]
    pub termination_grace_period_seconds: i64,
    /// ServiceAccount of the pods. Left out: one without permissions that the operator makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub service_account_name: Option<String>,
    /// Whether the operator makes a NetworkPolicy for the pods.
    #[serde(default)]
    pub network_policy: NetworkPolicy,
    /// Merged over the pod template that the operator makes, as kubectl patch does it (strategic merge). It may not
    /// change the operator's labels, its command or the data volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pods::template")]
    pub pod_template: Option<Overlay>,
}

/// Name of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretName {
    /// Name.
    #[schemars(length(max = 253))]
    pub name: String,
}

/// Disks of the nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Size of each node's disk, such as 10Gi; 64Mi to 1Pi. It may grow where the class allows it, never shrink.
    #[serde(default = "default_size")]
    #[schemars(length(max = 32))]
    pub size: String,
    /// Storage class; left out: the default class. Fixed at creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub class_name: Option<String>,
    /// What becomes of the disk of a drained or replaced node.
    #[serde(default)]
    pub when_scaled: DiskPolicy,
}

impl Default for Storage {
    fn default() -> Self {
        Self { size: default_size(), class_name: None, when_scaled: DiskPolicy::default() }
    }
}

/// What becomes of the disk of a node that left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DiskPolicy {
    /// Kept, and counted in status.
    #[default]
    Retain,
    /// Deleted once every shard is whole.
    Delete,
}

/// What becomes of the data when the StorageCluster is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Kept: applying the StorageCluster again brings it back.
    #[default]
    Retain,
    /// Deleted.
    Delete,
}

/// Compute resources of each node, as in a container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resources {
    /// What is reserved, by name such as cpu and memory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "pods::quantities")]
    pub requests: BTreeMap<String, IntOrString>,
    /// What is the most, by name such as cpu and memory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "pods::quantities")]
    pub limits: BTreeMap<String, IntOrString>,
}

/// When a silent node is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// Silence after which a node counts as lost: a whole number with s, m or h, such as 5m; or Never.
    #[serde(default = "default_replace_after")]
    #[schemars(length(max = 16))]
    pub replace_after: String,
}

impl Default for Failover {
    fn default() -> Self {
        Self { replace_after: default_replace_after() }
    }
}

fn default_shards() -> i32 {
    64
}
fn default_size() -> String {
    "10Gi".into()
}
fn default_replace_after() -> String {
    "5m".into()
}
fn default_grace() -> i64 {
    60
}
