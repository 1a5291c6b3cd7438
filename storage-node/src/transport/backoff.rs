//! Pauses between attempts: each twice as long as the one before, up to a bound.

use std::time::Duration;

/// The next pause, and the bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// How long to wait now.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }

    /// An attempt went well.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}
