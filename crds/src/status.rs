//! What the operator says of a cluster. Output, never input: nothing is decided from it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most lines of `plan` and of `waiting`; the counts beside them tell how many there are.
pub const MAX_LINES: usize = 16;

/// The state of a StorageCluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageClusterStatus {
    /// The generation of the spec that was planned last.
    pub observed_generation: Option<i64>,
    /// One word for all of it.
    pub phase: Phase,
    /// Ready, Available, Progressing, Degraded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
    pub plan: Vec<String>,
    /// How many steps there are.
    pub plan_steps: i32,
    /// What is waited for, with numbers, at most 16 lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// The first reason to wait, one word; unset when nothing waits.
    pub waiting_reason: Option<String>,
    /// Data that moves; unset when none does.
    pub migration: Option<Migration>,
    /// When this was written (RFC 3339, UTC). Old means that nobody is looking.
    pub observed_time: Option<String>,
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
