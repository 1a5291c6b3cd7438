//! How far each replica here has applied and what it owns, for the flusher, leased reads, reports and metrics.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

use granary_common::{ReplicaId, ShardId, SlotRange};
use parking_lot::{Mutex, RwLock};

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
    /// What the store has not been told yet: it looks whenever it turns, so that most batches need not wake it.
    news: Mutex<BTreeMap<ShardId, (ReplicaId, u64)>>,
    /// The store waits for such news.
    awaited: AtomicBool,
}

impl AppliedTable {
    pub(crate) fn set(&self, shard: ShardId, replica: AppliedReplica) {
        self.replicas.write().insert(shard, replica);
    }

    pub(crate) fn remove(&self, shard: ShardId) {
        self.replicas.write().remove(&shard);
        // The replica may begin anew under the same id: it must not hear of what it was before.
        self.news.lock().remove(&shard);
    }

    /// Leaves word for the store of how far a replica has applied. Whether the store must be woken for it.
    #[must_use]
    pub(crate) fn tell(&self, shard: ShardId, replica: ReplicaId, index: u64) -> bool {
        self.news.lock().insert(shard, (replica, index));
        self.awaited.swap(false, SeqCst)
    }

    /// For the store: what it was not told yet.
    pub(crate) fn take_news(&self) -> BTreeMap<ShardId, (ReplicaId, u64)> {
        std::mem::take(&mut *self.news.lock())
    }

    /// For the store, before it sleeps: whether it wants to be woken for news. True: there are some already.
    pub(crate) fn awaits(&self, awaits: bool) -> bool {
        // Set before the look, as the applier tells before it looks: one of the two sees the other.
        self.awaited.store(awaits, SeqCst);
        awaits && !self.news.lock().is_empty()
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
