//! From the spec that a user wrote to what the planner is asked.

use granary_crds::{StorageClusterSpec, parse_replace_after};
use granary_planner::desired::Desired;

/// What the planner is asked for this spec; `draining` are the ids of nodes that a person wants empty.
/// The spec has been validated.
pub fn desired(spec: &StorageClusterSpec, draining: &[u64]) -> Desired {
    // A validated spec holds positive numbers and a sound duration; what is not would be planned as the safest.
    let count = |number: i32| u32::try_from(number).unwrap_or(1);
    Desired {
        replicas: count(spec.replicas),
        replication_factor: count(spec.replication_factor),
        shards: count(spec.shards),
        replace_after_ms: parse_replace_after(&spec.failover.replace_after).and_then(|after| after.ms()),
        paused: spec.paused,
        draining: draining.to_vec(),
    }
}
