//! What the user asks for, already validated.

use serde::{Deserialize, Serialize};

/// What shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Number of storage nodes, at least `replication_factor`.
    pub replicas: u32,
    /// Copies of each shard: 1, 3 or 5. Fixed at creation.
    pub replication_factor: u32,
    /// Number of data shards, a power of two from 1 to 1024. Fixed at creation.
    pub shards: u32,
    /// ms of silence after which a node counts as lost; `None`: never.
    pub replace_after_ms: Option<u64>,
    /// Only observe and report; change nothing.
    pub paused: bool,
    /// Ids of nodes that a person asked to drain: they stay members without replicas until the wish is taken back.
    #[serde(default)]
    pub draining: Vec<u64>,
}
