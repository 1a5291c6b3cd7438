//! Snapshots that came in whole and wait for Raft to ask for their install.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use granary_engine::snapshot::Received;
use parking_lot::Mutex;

/// Raft ignores a snapshot that is too old; its files go after this time.
const KEPT: Duration = Duration::from_secs(60);

/// Where the transport leaves a snapshot whose files have all come.
pub trait SnapshotInbox: Send + Sync + 'static {
    /// Takes it over and names it: the id that goes into the message's `snapshot_id`.
    fn staged(&self, received: Received) -> u64;
}

/// The snapshots that wait. Bounded by the receives that the transport allows at once within [`KEPT`].
#[derive(Default)]
pub struct Inbox {
    next: AtomicU64,
    waiting: Mutex<BTreeMap<u64, (Instant, Received)>>,
}

impl Inbox {
    pub(crate) fn take(&self, id: u64) -> Option<Received> {
        self.waiting.lock().remove(&id).map(|(_, received)| received)
    }
}

impl SnapshotInbox for Inbox {
    fn staged(&self, received: Received) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, (since, _)| since.elapsed() < KEPT);
        waiting.insert(id, (Instant::now(), received));
        id
    }
}
