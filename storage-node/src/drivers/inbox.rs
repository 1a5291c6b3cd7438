//! Snapshots that came in whole and wait for what Raft makes of them. Their files stay until then, however long that
//! takes: one that Raft has accepted cannot be taken back.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use granary_engine::snapshot::Received;
use parking_lot::Mutex;

/// Where the transport leaves a snapshot whose files have all come.
pub trait SnapshotInbox: Send + Sync + 'static {
    /// Takes it over and names it: the id that goes into the message's `snapshot_id`. The message must reach the store,
    /// or the snapshot stays for good.
    fn staged(&self, received: Received) -> u64;
}

/// The snapshots that wait. Bounded by the messages of snapshots on their way to the store, which the transport lets in a
/// few at a time, and one a group.
#[derive(Default)]
pub struct Inbox {
    next: AtomicU64,
    waiting: Mutex<BTreeMap<u64, Received>>,
}

impl Inbox {
    pub(crate) fn take(&self, id: u64) -> Option<Received> {
        self.waiting.lock().remove(&id)
    }
}

impl SnapshotInbox for Inbox {
    fn staged(&self, received: Received) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.waiting.lock().insert(id, received);
        id
    }
}
