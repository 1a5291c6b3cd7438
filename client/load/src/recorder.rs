//! Where all clients of a run put down what they see: a few histograms, however many clients there are.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// Highest latency that is told apart, in microseconds: ten minutes.
const HIGHEST_US: u64 = 600_000_000;
/// Clients share a histogram with every sixteenth.
const PARTS: usize = 16;
/// Kinds of errors that are told apart.
const MOST_ERRORS: usize = 64;
const OTHERS: &str = "others";

#[derive(Debug)]
pub(crate) struct Recorder {
    parts: Vec<Mutex<Histogram<u64>>>,
    errors: Mutex<BTreeMap<String, u64>>,
    keys: AtomicU64,
    /// Of all, warm-up included: for those who watch.
    done: AtomicU64,
    failed: AtomicU64,
}

fn histogram() -> Histogram<u64> {
    // Refused are bounds and digits out of range only, and these are constants.
    Histogram::new_with_bounds(1, HIGHEST_US, 3).unwrap_or_else(|_| unreachable!())
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            parts: (0..PARTS).map(|_| Mutex::new(histogram())).collect(),
            errors: Mutex::default(),
            keys: AtomicU64::new(0),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// One answer of that client; `counts`: it was asked for behind the warm-up.
    pub(crate) fn note(&self, client: usize, took: Duration, answer: Result<u64, String>, counts: bool) {
        match &answer {
            Ok(_) => self.done.fetch_add(1, Relaxed),
            Err(_) => self.failed.fetch_add(1, Relaxed),
        };
        if !counts {
            return;
        }
        match answer {
            Ok(keys) => {
                self.keys.fetch_add(keys, Relaxed);
                let us = u64::try_from(took.as_micros()).unwrap_or(HIGHEST_US);
                self.parts[client % PARTS].lock().saturating_record(us.max(1));
            }
            Err(words) => {
                let mut errors = self.errors.lock();
                let is_new = !errors.contains_key(&words);
                let words = if is_new && errors.len() >= MOST_ERRORS { OTHERS.to_owned() } else { words };
                *errors.entry(words).or_default() += 1;
            }
        }
    }

    /// Requests that succeeded and that failed so far.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        (self.done.load(Relaxed), self.failed.load(Relaxed))
    }

    /// All latencies, keys and errors.
    pub(crate) fn total(&self) -> (Histogram<u64>, u64, BTreeMap<String, u64>) {
        let mut all = histogram();
        for part in &self.parts {
            // They have the same bounds.
            let _ = all.add(&*part.lock());
        }
        (all, self.keys.load(Relaxed), self.errors.lock().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_in_the_warm_up_is_seen_and_not_counted() {
        let recorder = Recorder::new();
        recorder.note(0, Duration::from_secs(1), Ok(1), false);
        recorder.note(1, Duration::from_millis(2), Ok(64), true);
        recorder.note(17, Duration::from_millis(4), Ok(64), true);
        recorder.note(2, Duration::from_millis(9), Err("no".into()), true);
        let (latencies, keys, errors) = recorder.total();
        assert_eq!((latencies.len(), keys, recorder.so_far()), (2, 128, (3, 1)));
        assert!(latencies.max().abs_diff(4_000) < 10);
        assert_eq!(errors, BTreeMap::from([("no".into(), 1)]));
    }

    #[test]
    fn there_are_no_more_kinds_of_errors_than_are_told_apart() {
        let recorder = Recorder::new();
        (0..1_000).for_each(|number| recorder.note(0, Duration::ZERO, Err(number.to_string()), true));
        let (_, _, errors) = recorder.total();
        assert_eq!((errors.len(), errors.values().sum::<u64>()), (MOST_ERRORS + 1, 1_000));
    }
}
