//! What the operator says of a cluster. Output, never input: nothing is decided from it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most lines of `plan` and of `waiting`; the counts beside them tell how many there are.
pub const MAX_LINES: usize = 16;

/// Most entries of `nodes`.
pub const MAX_NODES: usize = 100;
/// Most entries of `conditions`.
pub const MAX_CONDITIONS: usize = 8;

/// The types of conditions.
pub mod condition {
    /// The plan is empty and every shard is whole.
    pub const READY: &str = "Ready";
    /// Every shard has a leader: reads and writes are served.
    pub const AVAILABLE: &str = "Available";
    /// Steps are being taken towards what is desired.
    pub const PROGRESSING: &str = "Progressing";
    /// Something is wrong and needs a person; reasons such as QuorumLost, DataLost and OperatorConflict.
    pub const DEGRADED: &str = "Degraded";
    /// Disks are on the way to `spec.storage.size`; False with a reason when the class or the volume cannot grow.
    pub const STORAGE_RESIZING: &str = "StorageResizing";
}

/// The state of a StorageCluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageClusterStatus {
    /// The generation of the spec that was planned last.
    pub observed_generation: Option<i64>,
    /// One word for all of it.
    pub phase: Phase,
    /// Ready, Available, Progressing, Degraded, and StorageResizing while disks grow or cannot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
    /// Members of the cluster.
    pub replicas: i32,
    /// Members that are joined and caught up.
    pub ready_nodes: i32,
    /// Data shards that exist.
    pub shards: i32,
    /// Data shards with a leader.
    pub shards_with_leader: i32,
    /// The steps being taken, at most 16 lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub plan: Vec<String>,
    /// How many steps there are.
    pub plan_steps: i32,
    /// What is waited for, with numbers, at most 16 lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub waiting: Vec<String>,
    /// The first reason to wait, one word; unset when nothing waits.
    pub waiting_reason: Option<String>,
    /// Data that moves; unset when none does.
    pub migration: Option<Migration>,
    /// When this was written (RFC 3339, UTC). Old means that nobody is looking.
    pub observed_time: Option<String>,
    /// The members, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub nodes: Vec<NodeStatus>,
    /// The smallest disk of a member, as its claim says it (such as 10Gi); unset before it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_size: Option<String>,
    /// Bytes stored by all members together, each replica counted; unset before it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_stored: Option<i64>,
    /// Claims of nodes that left, kept since storage.whenScaled is Retain.
    #[serde(default)]
    pub claims_kept: i32,
    /// The command that removes the claims kept and their data; unset when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims_kept_command: Option<String>,
}

/// A member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name, the same as of its StatefulSet: CLUSTER-node-N.
    pub name: String,
    /// Its id in the cluster; unset before it joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<i64>,
    /// The Kubernetes node that its pod is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_node: Option<String>,
    /// Zone of that Kubernetes node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Joined and caught up.
    pub ready: bool,
    /// One word, such as Active, Draining or Lost.
    pub state: String,
    /// Replicas of data shards on it; unset when it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Data shards that it leads; unset when it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaders: Option<i32>,
}

/// The closed set of phases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// The cluster could not be asked.
    #[default]
    Unknown,
    /// Not founded yet, or its shards do not exist yet.
    Founding,
    /// As desired.
    Ready,
    /// On the way to what is desired.
    Progressing,
    /// Something is wrong and needs a person.
    Degraded,
    /// `paused` is set.
    Paused,
}

/// Replicas on the move.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Migration {
    /// Replicas that are not where they shall be.
    pub moves_left: i32,
    /// Bytes that are still to be copied, roughly.
    pub bytes_left: i64,
    /// Bytes a second over the last rounds; unset before it is known.
    pub bytes_per_second: Option<i64>,
    /// Seconds until it is done at that rate; unset before the rate is known.
    pub seconds_left: Option<i64>,
}
