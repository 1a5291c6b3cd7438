//! Scrub: finds damaged and diverged data before somebody needs it, and has it repaired from the other replicas
//! (HAZARDS H21).
//!
//! - `tables`: reads all that lies on the disk, slowly, past the caches: bytes that are not what was written.
//! - `compare`: replicas of a shard at one applied index, by their hashes: rows that are not what the log made.
//! - `mend`: what becomes of a damaged `data/`: the node starts anew, which copies what can be read and asks the others for
//!   the rest.
//!
//! A replica that most others contradict is made anew from them. Without such a majority nothing is done but said. It
//! must not know how rows are read, or how a replica is made anew.

mod compare;
mod mend;
mod tables;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use granary_common::ShardId;
use granary_engine::Remade;
use granary_proto::admin::VerifyShardResponse;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::member::Member;

pub(crate) use compare::{begin, marked_hash};

/// The first pass begins at most so long after the start of the node.
const FIRST: Duration = Duration::from_secs(300);
/// Longest words of one damage in a report, in characters.
const MAX_WORDS: usize = 240;

/// What scrub knows and counts.
#[derive(Debug)]
pub struct Scrub {
    /// Cancelled when the node shall end in order to be started again.
    restart: CancellationToken,
    /// The last comparison of each shard that was led here.
    rounds: Mutex<BTreeMap<ShardId, VerifyShardResponse>>,
    running: Mutex<BTreeSet<ShardId>>,
    /// Shards whose replicas differ while no majority says what is right.
    undecided: Mutex<BTreeSet<ShardId>>,
    raft_damage: Mutex<Option<String>>,
    /// What this start made anew, until all replicas are whole again.
    remade: Mutex<Option<Remade>>,
    /// Why a damaged data/ is not made anew yet.
    waits: Mutex<Option<String>>,
    finished: Mutex<Option<Instant>>,
    counts: Counts,
}

/// Since the start of the process.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) raft_bytes: AtomicU64,
    pub(crate) data_bytes: AtomicU64,
    pub(crate) passes: AtomicU64,
    pub(crate) compared: AtomicU64,
    pub(crate) wrong: AtomicU64,
    pub(crate) undecided: AtomicU64,
    pub(crate) rebuilt: AtomicU64,
    pub(crate) damages: AtomicU64,
}

/// What a scrape shows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScrubSample {
    /// Bytes read of `raft/`.
    pub raft_bytes: u64,
    /// Bytes read of `data/`.
    pub data_bytes: u64,
    /// Times that all was read.
    pub passes: u64,
    /// Comparisons of shards that were led here.
    pub compared: u64,
    /// Replicas that a majority contradicted, in these.
    pub wrong: u64,
    /// Comparisons with differences and without a majority.
    pub undecided: u64,
    /// Replicas here that were made anew.
    pub rebuilt: u64,
    /// Damages found on the disk here, those with which this process was started among them.
    pub damages: u64,
    /// Whether something here is damaged now.
    pub damaged: bool,
    /// Replicas of which nothing is served, since their rows are wrong.
    pub refused: u64,
    /// Seconds since the last whole pass, or since the start; `None`: there are none by the options.
    pub age_seconds: Option<u64>,
}

impl Scrub {
    /// For a process that was started with `remade`; `restart` is cancelled when it shall end.
    pub fn new(restart: CancellationToken, remade: Option<Remade>) -> Self {
        let counts = Counts::default();
        counts.damages.store(u64::from(remade.is_some()), Relaxed);
        Self {
            restart,
            rounds: Mutex::default(),
            running: Mutex::default(),
            undecided: Mutex::default(),
            raft_damage: Mutex::default(),
            remade: Mutex::new(remade),
            waits: Mutex::default(),
            finished: Mutex::default(),
            counts,
        }
    }

    /// Starts what runs in the background. It ends with the set.
    pub(crate) fn start(member: &Arc<Member>, tasks: &mut JoinSet<()>) {
        tasks.spawn(mend::watch(member.clone()));
        tasks.spawn(mend::finish(member.clone()));
        if member.options.scrub_interval().is_some() {
            tasks.spawn(tables::run(member.clone()));
            tasks.spawn(compare::run(member.clone()));
        }
    }

    /// The last comparison of a shard, if it has this mark.
    pub(crate) fn round(&self, shard: ShardId, mark: u64) -> Option<VerifyShardResponse> {
        self.rounds.lock().get(&shard).filter(|round| round.mark == mark).cloned()
    }

    /// What is damaged here, for the meta shard's leader and whoever asks it; empty: nothing that is known.
    pub(crate) fn damage(&self, member: &Member) -> String {
        let mut parts = Vec::new();
        if let Some(what) = member.data.damage() {
            let waits = self.waits.lock().clone();
            let then = waits.map_or("it is made anew".to_owned(), |why| format!("it is not made anew yet: {why}"));
            parts.push(format!("data/: {}; {then}", short(what)));
        }
        if let Some(remade) = &*self.remade.lock() {
            let left = mend::not_whole(member);
            parts.push(format!(
                "data/ was damaged and made anew ({}); {left} of its replicas wait for their rows from others",
                short(&remade.why)
            ));
        }
        if let Some(what) = &*self.raft_damage.lock() {
            parts.push(format!("raft/: {}; replace this node's disk", short(what)));
        }
        let named =
            |shards: &BTreeSet<ShardId>| shards.iter().map(|shard| shard.0.to_string()).collect::<Vec<_>>().join(", ");
        let refused = member.store.refused();
        if !refused.is_empty() {
            parts.push(format!("its rows of shards {} contradict most replicas: they are made anew", named(&refused)));
        }
        let undecided = self.undecided.lock();
        if !undecided.is_empty() {
            parts.push(format!("replicas of shards {} differ, without a majority: nothing is done", named(&undecided)));
        }
        parts.join("; ")
    }

    /// For a scrape.
    pub(crate) fn sample(&self, member: &Member) -> ScrubSample {
        let of = |count: &AtomicU64| count.load(Relaxed);
        let counts = &self.counts;
        let since = || self.finished.lock().map_or(member.started.elapsed(), |at| at.elapsed());
        ScrubSample {
            raft_bytes: of(&counts.raft_bytes),
            data_bytes: of(&counts.data_bytes),
            passes: of(&counts.passes),
            compared: of(&counts.compared),
            wrong: of(&counts.wrong),
            undecided: of(&counts.undecided),
            rebuilt: of(&counts.rebuilt),
            damages: of(&counts.damages),
            damaged: !self.damage(member).is_empty(),
            refused: member.store.refused().len() as u64,
            age_seconds: member.options.scrub_interval().map(|_| since().as_secs()),
        }
    }

    /// The replica of a shard here is to be made anew, as its leader asked with good reason.
    pub(crate) fn rebuild(&self, member: &Member, shard: ShardId, replica: granary_common::ReplicaId) {
        self.counts.rebuilt.fetch_add(1, Relaxed);
        member.store.refuse(shard);
        member.store.event(granary_store::Event::Rebuild { shard, replica });
    }
}

/// Where the second instance that reads the tables keeps its own files.
fn scratch(member: &Member) -> PathBuf {
    member.options.data.join("staging").join("scrub")
}

/// Before the first pass: not all nodes that were started together at once, nor right behind the start.
fn first_delay(interval: Duration) -> Duration {
    interval.min(FIRST).mul_f64(0.5 + rand::random::<f64>() / 2.0)
}

/// Between two passes: an interval, a tenth more or less.
fn pause(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + rand::random::<f64>() / 5.0)
}

fn short(text: &str) -> String {
    text.chars().take(MAX_WORDS).collect()
}
