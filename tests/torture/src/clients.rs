//! Checked clients: each operation is recorded with its call, its return, and what is known of its outcome. What is
//! sent, and what an answer means, is in `operate`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use granary_client::{Client, Options};
use granary_history::{Action, Answer, Change, Expected, Held, History, Kind, Origin, Outcome, Recorder};
use granary_tests::{HarnessError, Result};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::task::JoinSet;

use crate::{keys::Keys, operate::operate};

/// Tasks, each with one operation in flight.
const WORKERS: u32 = 16;
/// Pause of a task between two operations, in ms.
const THINK: std::ops::Range<u64> = 10..90;
/// Operations a second of all tasks together, at most: bounds the recorder.
const RATE: u64 = 500;
/// Longest time for most operations, with all retries.
const PATIENT: Duration = Duration::from_secs(8);

/// What the tasks share.
pub struct Clients {
    clients: Vec<Client>,
    recorder: Recorder,
    keys: Keys,
    next_value: AtomicU64,
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    stop: AtomicBool,
}

impl Clients {
    /// Connects, and starts the tasks; they end at [`Clients::stop`].
    pub async fn start(endpoints: Vec<String>, seed: u64, longest: Duration) -> Result<(Arc<Self>, JoinSet<()>)> {
        let mut clients = Vec::new();
        for _ in 0..4 {
            let client = Client::connect(endpoints.clone(), Options::default()).await;
            clients.push(client.map_err(|error| HarnessError::because("connecting a client", error))?);
        }
        let capacity = usize::try_from(longest.as_secs() * RATE).unwrap_or(usize::MAX);
        let shared = Arc::new(Self {
            clients,
            recorder: Recorder::monotonic(capacity),
            keys: Keys::default(),
            next_value: AtomicU64::new(1),
            acknowledged: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for number in 0..WORKERS {
            let rng = StdRng::seed_from_u64(seed ^ (u64::from(number) << 32));
            tasks.spawn(shared.clone().work(number, rng));
        }
        Ok((shared, tasks))
    }

    /// One of the clients.
    pub fn client(&self, number: u32) -> &Client {
        &self.clients[number as usize % self.clients.len()]
    }

    /// No further operations.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Writes so far whose outcome is unknown.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// Whether it recorded all that was done.
    pub fn is_full(&self) -> bool {
        self.recorder.is_full()
    }

    /// What was done so far.
    pub fn history(&self, origin: Origin) -> History {
        self.recorder.history(origin)
    }

    async fn work(self: Arc<Self>, number: u32, mut rng: StdRng) {
        let mut known: Option<(String, Held)> = None;
        while !self.stop.load(Ordering::Relaxed) {
            let (mut key, kind) = self.keys.pick(&mut rng);
            let action = match kind {
                Kind::Register => self.on_register(&mut rng, &mut key, known.take()),
                Kind::List if rng.random_bool(0.4) => Action::ReadList,
                Kind::List => Action::Append { element: self.fresh() },
                Kind::Counter if rng.random_bool(0.4) => Action::ReadCounter,
                Kind::Counter => Action::Add { amount: 1 },
            };
            // Some give up early: then nobody knows.
            let limit = if rng.random_bool(0.1) { Duration::from_millis(rng.random_range(20..800)) } else { PATIENT };
            let client = self.client(number).with_timeout(limit);
            let Some(outcome) = self.record(number, &client, &key, action).await else { return };
            if let Outcome::Ok(Answer::Held(Some(held)) | Answer::NotSwapped(Some(held))) = outcome {
                known = Some((key, held));
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(THINK))).await;
        }
    }

    fn fresh(&self) -> u64 {
        self.next_value.fetch_add(1, Ordering::Relaxed)
    }

    fn on_register(&self, rng: &mut StdRng, key: &mut String, known: Option<(String, Held)>) -> Action {
        match rng.random_range(0..100) {
            0..45 => Action::Read,
            45..68 => Action::Put { value: self.fresh() },
            68..74 => Action::Delete,
            _ => {
                let expected = match known {
                    // A key may be retired meanwhile: a few operations more do no harm.
                    Some((known, held)) if rng.random_bool(0.8) => {
                        *key = known;
                        match held.revision {
                            Some(revision) if rng.random_bool(0.5) => Expected::Revision(revision),
                            _ => Expected::Value(held.value),
                        }
                    }
                    _ if rng.random_bool(0.5) => Expected::Absent,
                    _ => Expected::Present,
                };
                let change = if rng.random_bool(0.15) { Change::Delete } else { Change::Put(self.fresh()) };
                Action::CompareAndSet { expected, change }
            }
        }
    }

    /// None: the recorder is full, and nothing was done.
    async fn record(&self, number: u32, client: &Client, key: &str, action: Action) -> Option<Outcome> {
        let ticket = self.recorder.call(number, key, action).ok()?;
        let outcome = operate(client, key, action).await;
        if !action.is_read() {
            match &outcome {
                Outcome::Ok(Answer::NotSwapped(_)) | Outcome::Failed => {}
                Outcome::Ok(_) => drop(self.acknowledged.fetch_add(1, Ordering::Relaxed)),
                Outcome::Unknown => drop(self.unknown.fetch_add(1, Ordering::Relaxed)),
            }
        }
        self.recorder.end(ticket, outcome.clone());
        Some(outcome)
    }

    /// Reads every key that was ever used; nothing else may go on. Gives how many could not be read.
    pub async fn last_reads(&self) -> usize {
        let mut unread = 0;
        for (key, kind) in self.keys.all() {
            let action = match kind {
                Kind::Register => Action::Read,
                Kind::List => Action::ReadList,
                Kind::Counter => Action::ReadCounter,
            };
            let client = self.client(0).with_timeout(Duration::from_secs(60));
            let outcome = self.record(WORKERS, &client, &key, action).await;
            unread += usize::from(!matches!(outcome, Some(Outcome::Ok(_))));
        }
        unread
    }
}
