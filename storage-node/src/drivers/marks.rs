//! What replicas here held at marks in their logs: the applier stops at a mark for as long as it takes to begin a
//! RocksDB snapshot, and a thread of its own reads it, slowly. So all replicas of a shard are read at the same applied
//! index while their clients go on. (CockroachDB's consistency checker and etcd's corruption check compare at one index
//! too.)
//!
//! It must not know what becomes of the hashes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use granary_common::{ReplicaId, ShardId};
use granary_engine::{DataStore, data_store::ReplicaHash};
use parking_lot::Mutex;

use crate::pace::Pace;

/// Marks read at a time; at one more the replica has no hash.
const READERS: usize = 2;
/// Marks of a shard that are remembered.
const KEPT: usize = 4;

/// What a replica held at a mark.
#[derive(Clone, Debug)]
pub struct Marked {
    /// Names the mark.
    pub mark: u64,
    /// The replica.
    pub replica: ReplicaId,
    /// Index of the mark.
    pub index: u64,
    /// What was found.
    pub found: Found,
}

/// What was found at a mark.
#[derive(Clone, Debug)]
pub enum Found {
    /// It is being read; so many bytes so far.
    Reading(Arc<AtomicU64>),
    /// All rows.
    Hash(ReplicaHash),
    /// Rows cannot be read, and why.
    Unreadable(String),
    /// It was not read; nothing is known.
    Missed(&'static str),
}

/// See the module.
pub struct Marks {
    data: Arc<DataStore>,
    pace: Pace,
    readers: AtomicUsize,
    kept: Mutex<BTreeMap<ShardId, VecDeque<Marked>>>,
}

impl Marks {
    pub(crate) fn new(data: Arc<DataStore>, bytes_per_second: u64) -> Arc<Self> {
        let pace = Pace::new(bytes_per_second);
        Arc::new(Self { data, pace, readers: AtomicUsize::new(0), kept: Mutex::default() })
    }

    /// What is known of this replica at this mark; `None`: it has not come there, or long ago.
    pub fn get(&self, shard: ShardId, mark: u64) -> Option<Marked> {
        self.kept.lock().get(&shard)?.iter().find(|marked| marked.mark == mark).cloned()
    }

    /// The pace of all that reads slowly here.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// The replica has applied up to the mark at `index` and no further: returns when a snapshot of that is taken.
    pub(crate) fn reached(self: &Arc<Self>, shard: ShardId, replica: ReplicaId, index: u64, mark: u64) {
        let busy = self.readers.fetch_add(1, Relaxed) >= READERS;
        let bytes = Arc::new(AtomicU64::new(0));
        let found = match busy {
            true => Found::Missed("too many shards are compared at a time"),
            false => Found::Reading(bytes.clone()),
        };
        self.keep(shard, Marked { mark, replica, index, found });
        let (taken, wait) = mpsc::channel();
        let this = self.clone();
        let read = move || {
            let found = this.read(shard, index, &bytes, &taken);
            this.readers.fetch_sub(1, Relaxed);
            this.keep(shard, Marked { mark, replica, index, found });
        };
        if busy || thread::Builder::new().name("marked".into()).spawn(read).is_err() {
            self.readers.fetch_sub(1, Relaxed);
            let found = Found::Missed("no thread reads it now");
            return self.keep(shard, Marked { mark, replica, index, found });
        }
        // An error: the thread has ended without a snapshot, and says so.
        let _ = wait.recv();
    }

    fn read(&self, shard: ShardId, index: u64, bytes: &AtomicU64, taken: &mpsc::Sender<()>) -> Found {
        let view = self.data.snapshot();
        let _ = taken.send(());
        let mut pace = |read: u64| {
            bytes.fetch_add(read, Relaxed);
            self.pace.pay(read);
        };
        match view.replica_hash(shard, &mut pace) {
            Ok(Some(hash)) if hash.applied_index == index => Found::Hash(hash),
            Ok(_) => Found::Missed("the replica was replaced meanwhile"),
            Err(error) => {
                tracing::error!(shard = shard.0, %error, "the replica cannot be read");
                Found::Unreadable(error.to_string())
            }
        }
    }

    /// In place of what is known of the same mark.
    fn keep(&self, shard: ShardId, marked: Marked) {
        let mut all = self.kept.lock();
        let kept = all.entry(shard).or_default();
        match kept.iter_mut().find(|known| known.mark == marked.mark) {
            Some(known) => *known = marked,
            None => {
                if kept.len() == KEPT {
                    kept.pop_front();
                }
                kept.push_back(marked);
            }
        }
    }
}
