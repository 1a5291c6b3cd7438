//! How far each replica here has applied and what it owns, for the flusher, leased reads, reports and metrics.

use std::collections::BTreeMap;

use granary_common::{ReplicaId, ShardId, SlotRange};
use parking_lot::RwLock;

/// One replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppliedReplica {
    /// Its id.
    pub replica: ReplicaId,
    /// Index of the last entry applied.
    pub index: u64,
    /// Rough size of its rows in bytes.
    pub bytes: u64,
    /// Slots that it owns.
    pub range: SlotRange,
}

/// Of all replicas here. Written by the applier only, behind each write.
#[derive(Debug, Default)]
pub struct AppliedTable {
    replicas: RwLock<BTreeMap<ShardId, AppliedReplica>>,
}

impl AppliedTable {
    pub(crate) fn set(&self, shard: ShardId, replica: AppliedReplica) {
        self.replicas.write().insert(shard, replica);
    }

    pub(crate) fn remove(&self, shard: ShardId) {
        self.replicas.write().remove(&shard);
    }

    /// One replica.
    pub fn get(&self, shard: ShardId) -> Option<AppliedReplica> {
        self.replicas.read().get(&shard).copied()
    }

    /// All, in shard order.
    pub fn all(&self) -> Vec<(ShardId, AppliedReplica)> {
        self.replicas.read().iter().map(|(shard, replica)| (*shard, *replica)).collect()
    }
}
