//! A bound on bytes a second, shared by all who send snapshots from this node.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Hands out time: each payment moves the moment from which the next one may go.
pub(crate) struct Pace {
    /// 0: no bound.
    bytes_per_second: u64,
    free_at: Mutex<Instant>,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, free_at: Mutex::new(Instant::now()) }
    }

    /// Reserves the time that these bytes take, and says how long to wait before they may go.
    pub(crate) fn reserve(&self, bytes: usize, now: Instant) -> Duration {
        if self.bytes_per_second == 0 {
            return Duration::ZERO;
        }
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let mut free_at = self.free_at.lock();
        let begin = (*free_at).max(now);
        *free_at = begin + takes;
        begin - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_wait_for_the_time_that_those_before_them_take() {
        let pace = Pace::new(1000);
        let now = Instant::now();
        assert_eq!(pace.reserve(500, now), Duration::ZERO);
        assert_eq!(pace.reserve(1000, now), Duration::from_millis(500));
        assert_eq!(pace.reserve(1, now + Duration::from_secs(10)), Duration::ZERO, "unused time is not saved up");
        assert_eq!(Pace::new(0).reserve(usize::MAX, now), Duration::ZERO);
    }
}
