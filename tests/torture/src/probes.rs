//! Probes: a task for each shard that writes numbers which only grow, so that a shard that stands still shows, and a
//! lost write too. Not in the history: they are many and simple.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use granary_client::Client;
use granary_common::SlotRange;
use granary_tests::{HarnessError, Result, writer::tag_in};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::calm::Calm;

/// Keys of each shard.
const KEYS: u64 = 32;
/// Between two writes of a shard.
const PAUSE: Duration = Duration::from_millis(80);
/// Longest time for a write: short, so that a stuck one does not hide that the shard works again.
const LIMIT: Duration = Duration::from_secs(3);

/// Last acknowledged and last tried number of a key.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    acknowledged: u64,
    tried: u64,
}

/// The running probes.
pub struct Probes {
    client: Client,
    calm: Arc<Calm>,
    keys: Mutex<BTreeMap<String, Numbers>>,
    acknowledged: AtomicU64,
    stop: AtomicBool,
}

impl Probes {
    /// Starts them; they end at [`Probes::stop`].
    pub fn start(client: &Client, shards: u32, calm: Arc<Calm>) -> (Arc<Self>, JoinSet<()>) {
        let probes = Arc::new(Self {
            client: client.with_timeout(LIMIT),
            calm,
            keys: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for index in 0..shards {
            let tag = tag_in(SlotRange::of_shard(index, shards));
            tasks.spawn(probes.clone().write(index as usize, tag));
        }
        (probes, tasks)
    }

    /// No further writes.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    async fn write(self: Arc<Self>, index: usize, tag: String) {
        let mut number = 0u64;
        while !self.stop.load(Ordering::Relaxed) {
            number += 1;
            let key = format!("probe/{{{tag}}}/{}", number % KEYS);
            self.keys.lock().entry(key.clone()).or_default().tried = number;
            if self.client.put(key.clone(), number.to_string()).await.is_ok() {
                self.calm.wrote(index, Instant::now());
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.keys.lock().entry(key).or_default().acknowledged = number;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reads all keys back. Gives those that hold less than was acknowledged, or more than was tried.
    pub async fn lost(&self) -> Result<Vec<String>> {
        let client = self.client.with_timeout(Duration::from_secs(60));
        let keys = self.keys.lock().clone();
        let mut lost = Vec::new();
        for (key, numbers) in keys {
            let found = client.get(key.clone()).await;
            let found = found.map_err(|error| HarnessError::because(format!("reading {key} back"), error))?;
            let held = found.map_or(Some(0), |value| std::str::from_utf8(&value.value).ok()?.parse().ok());
            let fits = held.is_some_and(|held: u64| (numbers.acknowledged..=numbers.tried).contains(&held));
            if !fits {
                lost.push(format!("{key} holds {held:?}, {numbers:?}"));
            }
        }
        Ok(lost)
    }
}
