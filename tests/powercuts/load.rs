//! Clients that write, compare, delete and read registers in every shard, and record all of it: what is checked for
//! linearizability at the end, and what shows that each shard works again after a fault.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use granary_client::{Client, Error, Options, Swapped, Value};
use granary_common::{SlotRange, slot_of};
use granary_history::{
    Action, Answer, Budget, Change, Expected, Held, Outcome, Recorder, UNREADABLE, check_revisions, verify,
};
use granary_tests::{node::LIMIT, wait::until, writer::tag_in};
use parking_lot::Mutex;
use rand::{RngExt as _, rngs::StdRng};
use tokio::task::JoinSet;

use crate::{report, run::Run};

/// Keys of each shard in one epoch.
const KEYS: u64 = 12;
/// Operations of one epoch at most.
const CAPACITY: usize = 400_000;
/// A client that waits across any fault, and one that gives up: its writes are unknown then.
const TIMEOUTS: [Duration; 2] = [Duration::from_secs(60), Duration::from_millis(400)];
/// Client in the history that reads all at the end.
const READER: u32 = u32::MAX;

struct Shared {
    recorder: Recorder,
    stop: AtomicBool,
    /// Every value is written once.
    next_value: AtomicU64,
    acknowledged: AtomicU64,
    /// When a write in each shard was acknowledged for the first time since the last fault.
    again: Mutex<Vec<Option<Instant>>>,
}

/// Running clients.
pub struct Load {
    shared: Arc<Shared>,
    client: Client,
    tasks: JoinSet<()>,
    keys: Vec<String>,
    epoch: u64,
}

/// What was found of an epoch that is good.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checked {
    pub operations: u64,
    pub acknowledged: u64,
    pub unknown: u64,
}

impl std::ops::AddAssign for Checked {
    fn add_assign(&mut self, other: Self) {
        self.operations += other.operations;
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
    }
}

impl Load {
    /// Two clients a shard, on keys that no epoch before has used.
    pub async fn start(run: &Run, endpoints: Vec<String>, shards: u32, epoch: u64) -> Self {
        let options = Options { timeout: TIMEOUTS[0], ..Options::default() };
        let client = Client::connect(endpoints, options).await.unwrap();
        let shared = Arc::new(Shared {
            recorder: Recorder::monotonic(CAPACITY),
            stop: AtomicBool::new(false),
            next_value: AtomicU64::new(1),
            acknowledged: AtomicU64::new(0),
            again: Mutex::new(vec![None; shards as usize]),
        });
        let (mut tasks, mut all) = (JoinSet::new(), Vec::new());
        for shard in 0..shards {
            let tag = tag_in(SlotRange::of_shard(shard, shards));
            let keys: Vec<String> = (0..KEYS).map(|key| format!("load/{{{tag}}}/{epoch}/{key}")).collect();
            all.extend(keys.iter().cloned());
            for (number, timeout) in (0..).zip(TIMEOUTS) {
                let id = shard * TIMEOUTS.len() as u32 + number;
                let random = run.random(epoch << 16 | u64::from(id));
                let one = One { id, shard: shard as usize, client: client.with_timeout(timeout), keys: keys.clone() };
                tasks.spawn(one.work(shared.clone(), random));
            }
        }
        Self { shared, client, tasks, keys: all, epoch }
    }

    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// From now on no shard has acknowledged anything: to be called when the faulty nodes are dead.
    pub fn forget(&self) {
        self.shared.again.lock().fill(None);
    }

    /// Waits until every shard has acknowledged a write since it was told to forget, and says when the last one did first.
    pub async fn works_again(&self) -> Instant {
        until("a write is acknowledged in every shard", LIMIT, || {
            let again = self.shared.again.lock();
            let waits = again.iter().filter(|at| at.is_none()).count();
            let last = again.iter().flatten().max().copied();
            std::future::ready(last.filter(|_| waits == 0).ok_or(format!("{waits} shards wait")))
        })
        .await
        .unwrap()
    }

    /// Waits for so many more acknowledged writes.
    pub async fn goes_on(&self, more: u64) {
        let before = self.acknowledged();
        until("writes are acknowledged", LIMIT, || {
            let done = self.acknowledged() - before;
            std::future::ready(if done >= more { Ok(()) } else { Err(format!("{done} of {more}")) })
        })
        .await
        .unwrap();
    }

    /// Ends the clients, reads every key once more, and checks all that was recorded.
    pub async fn finish(mut self, run: &Run) -> Checked {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let recorder = &self.shared.recorder;
        assert!(!recorder.is_full(), "the recorder was full");
        for key in &self.keys {
            let ticket = recorder.call(READER, key, Action::Read).unwrap();
            let found = self.client.get(key.clone()).await.unwrap();
            recorder.end(ticket, Outcome::Ok(Answer::Held(found.map(|value| held(&value)))));
        }
        let history = recorder.history(run.origin());
        let file = format!("{}-{}-{}.jsonl", run.name(), run.seed, self.epoch);
        let verified =
            verify(&history, Budget::default(), &report::folder().join(&file)).unwrap_or_else(|bad| panic!("{bad}"));
        assert!(verified.finals.unread.is_empty(), "{:?}", verified.finals.unread);
        let shards: HashMap<&str, u32> = self.keys.iter().map(|key| (key.as_str(), self.shard_of(key))).collect();
        let revisions = check_revisions(&history, |key| shards[key]).unwrap();
        if revisions.violated > 0 {
            let saved = history.save(report::folder().join(&file));
            panic!("{} revisions cannot be ({file} {saved:?}): {:?}", revisions.violated, revisions.violations);
        }
        let found = verified.report;
        Checked { operations: found.operations, acknowledged: found.acknowledged, unknown: found.unknown }
    }

    fn shard_of(&self, key: &str) -> u32 {
        let shards = self.shared.again.lock().len() as u32;
        let slot = slot_of(key.as_bytes());
        (0..shards).find(|shard| SlotRange::of_shard(*shard, shards).contains(slot)).unwrap()
    }
}

/// One client.
struct One {
    id: u32,
    shard: usize,
    client: Client,
    keys: Vec<String>,
}

impl One {
    async fn work(self, shared: Arc<Shared>, mut random: StdRng) {
        let mut seen: HashMap<usize, Held> = HashMap::new();
        while !shared.stop.load(Ordering::Relaxed) {
            let at = random.random_range(0..self.keys.len());
            let action = self.choose(&shared, &mut random, seen.get(&at));
            let Ok(ticket) = shared.recorder.call(self.id, &self.keys[at], action) else { return };
            let outcome = match self.send(&self.keys[at], action).await {
                Ok(answer) => Outcome::Ok(answer),
                Err(Error::OutcomeUnknown { .. }) => Outcome::Unknown,
                Err(_) => Outcome::Failed,
            };
            self.learn(&shared, &mut seen, at, action, &outcome);
            shared.recorder.end(ticket, outcome);
            tokio::time::sleep(Duration::from_millis(random.random_range(1..4))).await;
        }
    }

    fn choose(&self, shared: &Shared, random: &mut StdRng, seen: Option<&Held>) -> Action {
        let value = || shared.next_value.fetch_add(1, Ordering::Relaxed);
        match (random.random_range(0..100), seen) {
            (0..45, _) => Action::Put { value: value() },
            (45..70, Some(Held { revision: Some(revision), .. })) => {
                let expected = Expected::Revision(*revision);
                Action::CompareAndSet { expected, change: Change::Put(value()) }
            }
            (70..75, Some(held)) => {
                Action::CompareAndSet { expected: Expected::Value(held.value), change: Change::Delete }
            }
            (75..80, _) => Action::Delete,
            _ => Action::Read,
        }
    }

    async fn send(&self, key: &str, action: Action) -> Result<Answer, Error> {
        let key = key.to_owned();
        Ok(match action {
            Action::Put { value } => Answer::Written(Some(self.client.put(key, value.to_string()).await?)),
            Action::Delete => {
                let deleted = self.client.delete(key).await?;
                Answer::Deleted { existed: Some(deleted.existed), revision: Some(deleted.revision) }
            }
            Action::CompareAndSet { expected, change } => {
                let expected = match expected {
                    Expected::Absent => granary_client::Expected::Absent,
                    Expected::Present => granary_client::Expected::Present,
                    Expected::Value(value) => granary_client::Expected::Value(value.to_string().into()),
                    Expected::Revision(revision) => granary_client::Expected::Revision(revision),
                };
                let change = match change {
                    Change::Put(value) => granary_client::Change::Put(value.to_string().into()),
                    Change::Delete => granary_client::Change::Delete,
                };
                match self.client.compare_and_set(key, expected, change).await? {
                    Swapped::Done { revision } => Answer::Written(Some(revision)),
                    Swapped::Refused(found) => Answer::NotSwapped(found.map(|value| held(&value))),
                }
            }
            _ => Answer::Held(self.client.get(key).await?.map(|value| held(&value))),
        })
    }

    fn learn(&self, shared: &Shared, seen: &mut HashMap<usize, Held>, at: usize, action: Action, outcome: &Outcome) {
        let Outcome::Ok(answer) = outcome else { return };
        let is_write = matches!(answer, Answer::Written(_) | Answer::Deleted { .. });
        if is_write {
            shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            shared.again.lock()[self.shard].get_or_insert_with(Instant::now);
        }
        match (answer, action.value_written()) {
            (Answer::Written(revision), Some(value)) => seen.insert(at, Held { value, revision: *revision }),
            (Answer::Held(Some(held)) | Answer::NotSwapped(Some(held)), _) => seen.insert(at, *held),
            _ => seen.remove(&at),
        };
    }
}

fn held(value: &Value) -> Held {
    let number = std::str::from_utf8(&value.value).ok().and_then(|text| text.parse().ok());
    Held { value: number.unwrap_or(UNREADABLE), revision: Some(value.revision) }
}
