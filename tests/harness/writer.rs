//! A writer that remembers every acknowledgement, so that a lost write shows and the longest gap is known.
//!
//! One task a shard, each with keys of its own in that shard, so that the gap of the shard whose leader died is seen and
//! not hidden by the others. Each write holds a number that only grows; a key must never hold less than what was
//! acknowledged for it last, nor more than what was tried.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use granary_client::{Client, Options};
use granary_common::{SlotRange, slot_of};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::{HarnessError, Result};

/// Keys of each task.
const KEYS: u64 = 64;

/// Last acknowledged and last tried number of a key.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    acknowledged: u64,
    tried: u64,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    keys: Mutex<BTreeMap<Bytes, Numbers>>,
    /// Longest time between two acknowledgements of one task since the last look.
    longest_gap_us: AtomicU64,
    /// Since when each task waits for its next acknowledgement.
    waiting_since: Mutex<Vec<Instant>>,
    errors: Mutex<Vec<String>>,
}

/// The running writer.
pub struct Writer {
    shared: Arc<Shared>,
    client: Client,
    tasks: JoinSet<()>,
}

/// What was found when everything was read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Writes acknowledged so far.
    pub acknowledged: u64,
    /// Keys read.
    pub keys: u64,
    /// Keys that hold less than was acknowledged, or more than was tried.
    pub lost: u64,
}

impl Writer {
    /// Starts a task for each of `shards` shards; each writes again `pause` after its last acknowledgement.
    pub async fn start(endpoints: Vec<String>, shards: u32, pause: Duration) -> Result<Self> {
        let options = Options { timeout: Duration::from_secs(60), ..Options::default() };
        let client = Client::connect(endpoints, options)
            .await
            .map_err(|error| HarnessError::because("connecting the writer", error))?;
        let shared = Arc::new(Shared::default());
        *shared.waiting_since.lock() = vec![Instant::now(); shards as usize];
        let mut tasks = JoinSet::new();
        for index in 0..shards {
            let tag = tag_in(SlotRange::of_shard(index, shards));
            tasks.spawn(write(client.clone(), shared.clone(), index as usize, tag, pause));
        }
        Ok(Self { shared, client, tasks })
    }

    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Writes whose outcome stayed unknown.
    pub fn unknown(&self) -> u64 {
        self.shared.unknown.load(Ordering::Relaxed)
    }

    /// Longest gap between two acknowledgements of one shard since the last call, also one that still goes on.
    pub fn take_longest_gap(&self) -> Duration {
        let ended = Duration::from_micros(self.shared.longest_gap_us.swap(0, Ordering::Relaxed));
        let going_on = self.shared.waiting_since.lock().iter().map(Instant::elapsed).max().unwrap_or_default();
        ended.max(going_on)
    }

    /// Reads every key back linearizably and compares. Writes may go on meanwhile.
    pub async fn check(&self) -> Result<Checked> {
        let before = self.shared.keys.lock().clone();
        let mut checked = Checked { acknowledged: self.acknowledged(), keys: before.len() as u64, lost: 0 };
        for (key, numbers) in before {
            let found = self
                .client
                .get(key.clone())
                .await
                .map_err(|error| HarnessError::because(format!("reading {key:?} back"), error))?;
            let held = found.and_then(|value| std::str::from_utf8(&value.value).ok()?.parse().ok()).unwrap_or(0);
            let tried = self.shared.keys.lock().get(&key).map_or(0, |now| now.tried);
            if held < numbers.acknowledged || held > tried {
                checked.lost += 1;
                self.shared
                    .errors
                    .lock()
                    .push(format!("{key:?} holds {held}, acknowledged {numbers:?}, tried {tried}"));
            }
        }
        Ok(checked)
    }

    /// The first few things that went wrong.
    pub fn errors(&self) -> Vec<String> {
        self.shared.errors.lock().iter().take(5).cloned().collect()
    }

    /// Ends writing: each task ends the write that it is in.
    pub async fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
    }

    /// Ends writing, then checks.
    pub async fn finish(mut self) -> Result<Checked> {
        self.stop().await;
        self.check().await
    }
}

async fn write(client: Client, shared: Arc<Shared>, index: usize, tag: String, pause: Duration) {
    let mut number = 0u64;
    while !shared.stop.load(Ordering::Relaxed) {
        number += 1;
        let key = Bytes::from(format!("writer/{{{tag}}}/{}", number % KEYS));
        shared.keys.lock().entry(key.clone()).or_default().tried = number;
        let since = shared.waiting_since.lock()[index];
        match client.put(key.clone(), number.to_string()).await {
            Ok(_) => {
                let now = Instant::now();
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                shared.keys.lock().entry(key).or_default().acknowledged = number;
                let gap = u64::try_from((now - since).as_micros()).unwrap_or(u64::MAX);
                shared.longest_gap_us.fetch_max(gap, Ordering::Relaxed);
                shared.waiting_since.lock()[index] = now;
            }
            Err(error) => {
                shared.unknown.fetch_add(1, Ordering::Relaxed);
                shared.errors.lock().push(error.to_string());
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// A tag whose slot is in `range`.
pub fn tag_in(range: SlotRange) -> String {
    (0u64..).map(|number| format!("w{number}")).find(|tag| range.contains(slot_of(tag.as_bytes()))).unwrap_or_default()
}
