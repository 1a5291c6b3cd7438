//! How long to wait before the next try.

use std::time::Duration;

/// Waits that double up to a bound, each shortened at random by up to half, so that clients do not retry in step.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    last: Duration,
    next: Duration,
}

impl Backoff {
    /// For a cluster that cannot take a request now: 5 to 250 ms.
    pub(crate) fn overload() -> Self {
        Self::new(Duration::from_millis(5), Duration::from_millis(250))
    }

    /// For a shard without a leader: 10 to 50 ms, so that the gap is hardly longer than the election.
    pub(crate) fn election() -> Self {
        Self::new(Duration::from_millis(10), Duration::from_millis(50))
    }

    /// For a node that cannot be reached: 20 to 200 ms, so that a node that comes back is soon found.
    pub(crate) fn reconnect() -> Self {
        Self::new(Duration::from_millis(20), Duration::from_millis(200))
    }

    fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, next: first }
    }

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.last);
        wait.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Starts over.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}
