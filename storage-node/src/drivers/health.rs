//! What the watchdog found at its last look, readable by any thread.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use granary_duties::watchdog::{Part, Trouble, Verdict};
use parking_lot::RwLock;

/// See the module.
#[derive(Debug, Default)]
pub struct Health {
    looks: AtomicU64,
    slow_disk: AtomicBool,
    away: AtomicBool,
    sync_average_ms: AtomicU64,
    verdict: RwLock<Verdict>,
}

/// One look, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthSample {
    /// The disk is too slow to lead on.
    pub slow_disk: bool,
    /// Average time of a write of the log.
    pub sync_average: Duration,
    /// How long each part has stood, and whether that is too long.
    pub parts: Vec<(Part, Duration, bool)>,
}

impl Health {
    pub(crate) fn note(&self, verdict: Verdict, sync_average: Duration) {
        self.slow_disk.store(verdict.slow_disk, Relaxed);
        self.away.store(verdict.away, Relaxed);
        self.sync_average_ms.store(u64::try_from(sync_average.as_millis()).unwrap_or(u64::MAX), Relaxed);
        *self.verdict.write() = verdict;
        self.looks.fetch_add(1, Relaxed);
    }

    /// Whether the disk is too slow to lead on.
    pub fn slow_disk(&self) -> bool {
        self.slow_disk.load(Relaxed)
    }

    /// Whether leaders shall leave for what is wrong here.
    pub fn away(&self) -> bool {
        self.away.load(Relaxed)
    }

    /// Why the process should have ended by itself.
    pub fn end(&self) -> Option<String> {
        self.verdict.read().end.map(|end| super::watch::because(&end))
    }

    /// What is wrong with this node, in words that stay the same while it is; `None`: nothing. At most some hundred bytes.
    pub fn trouble(&self) -> Option<String> {
        let all: Vec<String> = self.verdict.read().trouble.iter().map(in_words).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// All of it.
    pub fn sample(&self) -> HealthSample {
        let verdict = self.verdict.read();
        let parts =
            Part::ALL.into_iter().map(|part| (part, verdict.stood[part as usize], verdict.stalled.contains(&part)));
        HealthSample {
            slow_disk: verdict.slow_disk,
            sync_average: Duration::from_millis(self.sync_average_ms.load(Relaxed)),
            parts: parts.collect(),
        }
    }
}

fn in_words(trouble: &Trouble) -> String {
    match trouble {
        Trouble::SlowDisk => "its disk is slow".to_owned(),
        Trouble::Stands(part) => format!("{} does not go on", part.what()),
    }
}
