//! How much work waits for the disk: beyond a bound the store takes in nothing new.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that wait in the queues of the log writer and the applier.
#[derive(Debug)]
pub(crate) struct Pressure {
    waiting: AtomicUsize,
    bound: usize,
}

impl Pressure {
    /// `bound` in bytes; work is taken in as long as less than that waits.
    pub(crate) fn new(bound: usize) -> Self {
        Self { waiting: AtomicUsize::new(0), bound: bound.max(1) }
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) < self.bound
    }
}
