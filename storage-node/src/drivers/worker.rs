//! Slow reads for the store: old log entries for slow followers, and snapshots as files. A thread of its own, so that
//! neither the store nor the applier waits for them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crossbeam_channel::{Receiver, Sender};
use granary_common::{ReplicaId, ShardId, log::Position};
use granary_engine::{
    DataStore, EngineError, RaftStore,
    raft_store::LogId,
    snapshot::{Exported, Received, StagingArea, export},
};
use granary_store::{Event, Fetch, SnapshotMade};
use parking_lot::Mutex;
use prost::Message as _;

use super::{StoreInput, fatal::fatal, meters::Meters};

/// What its thread yields to the others of this machine, of -20 to 19.
const NICE: i32 = 10;

/// What the worker is asked. Bounded: a group has at most one snapshot and 16 fetches under way.
pub(crate) enum Job {
    Fetch(Fetch),
    Export(ShardId, ReplicaId),
    /// A received snapshot that nobody wants: its files go.
    Discard(Box<Received>),
}

/// Snapshots that are offered, by id. The files go when the last send of them has ended.
#[derive(Default)]
pub(crate) struct Offered {
    next: AtomicU64,
    files: Mutex<BTreeMap<u64, Arc<Exported>>>,
}

impl Offered {
    pub(crate) fn get(&self, id: u64) -> Option<Arc<Exported>> {
        self.files.lock().get(&id).cloned()
    }

    pub(crate) fn drop_id(&self, id: u64) {
        self.files.lock().remove(&id);
    }
}

pub(crate) struct Worker {
    pub(crate) raft: Arc<RaftStore>,
    pub(crate) data: Arc<DataStore>,
    pub(crate) staging: Arc<StagingArea>,
    pub(crate) offered: Arc<Offered>,
    pub(crate) store: Sender<StoreInput>,
    pub(crate) meters: Arc<Meters>,
}

impl Worker {
    pub(crate) fn run(&self, jobs: &Receiver<Job>) {
        // Nobody waits for its work as clients wait for that of the others. On Linux this is of the calling thread alone.
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(%error, "the worker keeps its priority");
        }
        let mut later = VecDeque::new();
        while let Some(job) = later.pop_front().or_else(|| jobs.recv().ok()) {
            self.meters.worker.begin();
            match job {
                Job::Fetch(fetch) => self.fetch(fetch),
                Job::Export(shard, replica) => {
                    let made = self.export(shard, jobs, &mut later);
                    self.tell(Event::SnapshotMade { shard, replica, made });
                }
                Job::Discard(received) => drop(received),
            }
            self.meters.worker.end();
        }
    }

    fn tell(&self, event: Event) {
        let _ = self.store.send(StoreInput::Event(event));
    }

    /// A piece of a snapshot is written. Followers that wait for old entries do not wait for the rest of it.
    fn between(&self, jobs: &Receiver<Job>, later: &mut VecDeque<Job>) {
        for job in jobs.try_iter() {
            match job {
                Job::Fetch(fetch) => self.fetch(fetch),
                other => later.push_back(other),
            }
        }
        // It moves: a snapshot may take as long as it is large.
        self.meters.worker.end();
        self.meters.worker.begin();
    }

    fn fetch(&self, fetch: Fetch) {
        let log = LogId { shard: fetch.shard, replica: fetch.replica };
        let bytes = usize::try_from(fetch.max_bytes).unwrap_or(usize::MAX);
        let entries = match self.raft.fetch(log, fetch.low, fetch.high, bytes) {
            Ok(entries) => entries,
            // The follower was too slow for the log that is kept: it gets a snapshot.
            Err(EngineError::Purged { .. }) => Vec::new(),
            Err(error) => fatal("reading the log failed", &error),
        };
        self.tell(Event::Fetched { shard: fetch.shard, replica: fetch.replica, id: fetch.id, entries });
    }

    /// A snapshot that cannot be made (no room) is asked for again by the store; the follower waits.
    fn export(&self, shard: ShardId, jobs: &Receiver<Job>, later: &mut VecDeque<Job>) -> Option<SnapshotMade> {
        let mut between = || self.between(jobs, later);
        let exported = match export(&self.data, shard, &self.staging, &mut between) {
            Ok(exported) => exported,
            Err(error) => {
                tracing::warn!(shard = shard.0, %error, "making a snapshot failed");
                return None;
            }
        };
        let manifest = exported.manifest();
        let state = granary_proto::storage::ShardState::decode(manifest.shard_state.clone()).ok()?;
        let position = Position { index: manifest.applied_index, term: manifest.applied_term };
        let id = self.offered.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.offered.files.lock().insert(id, Arc::new(exported));
        Some(SnapshotMade { id, position, conf_state: state.conf_state.unwrap_or_default() })
    }
}
