//! What goes on, on standard error: a line every few seconds, with a bar on a terminal.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use crate::{calm::Calm, clients::Clients, probes::Probes};

/// Between two lines.
const EVERY: Duration = Duration::from_secs(5);
/// Between two looks at the clock, to see whether this process gets a processor.
const LOOK: Duration = Duration::from_millis(100);

/// Told by those who do something; shows it.
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
    total: Duration,
    rounds: AtomicU64,
    faults: AtomicU64,
    now: Mutex<String>,
    late_ms: AtomicU64,
    over: AtomicBool,
    seed: u64,
}

impl Progress {
    /// For a run of so long.
    pub fn new(total: Duration, seed: u64) -> Self {
        let style = ProgressStyle::with_template("{bar:20} {msg}").unwrap_or(ProgressStyle::default_bar());
        let bar = ProgressBar::new(total.as_secs()).with_style(style);
        let (rounds, faults, late_ms, over) = Default::default();
        Self { bar, started: Instant::now(), total, rounds, faults, now: Mutex::default(), late_ms, over, seed }
    }

    /// A round begins.
    pub fn round(&self, number: u64) {
        self.rounds.store(number, Ordering::Relaxed);
    }

    /// A fault happened.
    pub fn fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    /// What goes on now.
    pub fn now(&self, what: &str) {
        what.clone_into(&mut self.now.lock());
    }

    /// What was begun; also said at once.
    pub fn note(&self, what: &str) {
        self.now(what);
        if self.bar.is_hidden() {
            eprintln!("torture: {} {what}", self.clock());
        }
    }

    /// By how much a timer was late at most.
    pub fn latest(&self) -> Duration {
        Duration::from_millis(self.late_ms.load(Ordering::Relaxed))
    }

    /// Looks at the clock for ever.
    pub async fn watch_the_clock(self: Arc<Self>) {
        loop {
            let before = Instant::now();
            tokio::time::sleep(LOOK).await;
            let late = u64::try_from(before.elapsed().saturating_sub(LOOK).as_millis()).unwrap_or(u64::MAX);
            self.late_ms.fetch_max(late, Ordering::Relaxed);
        }
    }

    /// Shows lines until it is done.
    pub async fn show(self: Arc<Self>, clients: Arc<Clients>, probes: Arc<Probes>, calm: Arc<Calm>) {
        loop {
            tokio::time::sleep(EVERY).await;
            crate::cluster::reap();
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let line = format!(
                "{} of {} min, seed {}, round {}, {} faults, {} writes acknowledged, {} unknown, \
                 longest gap {:.1} s: {}",
                self.clock(),
                self.total.as_secs() / 60,
                self.seed,
                self.rounds.load(Ordering::Relaxed),
                self.faults.load(Ordering::Relaxed),
                clients.acknowledged() + probes.acknowledged(),
                clients.unknown(),
                calm.longest(Instant::now()).as_secs_f32(),
                self.now.lock(),
            );
            self.bar.set_position(self.started.elapsed().as_secs());
            if self.bar.is_hidden() { eprintln!("torture: {line}") } else { self.bar.set_message(line) }
        }
    }

    /// No further lines; takes the bar away.
    pub fn done(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.bar.finish_and_clear();
    }

    fn clock(&self) -> String {
        let seconds = self.started.elapsed().as_secs();
        format!("{:02}:{:02}", seconds / 60, seconds % 60)
    }
}
