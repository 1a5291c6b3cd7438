//! A bound on bytes a second, for whoever may wait: snapshots on their way out, what is read to be compared.

use std::{
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Hands out time: each payment moves the moment at which the next one is through. All who share it share the bound.
#[derive(Debug)]
pub struct Pace {
    /// 0: no bound.
    bytes_per_second: u64,
    free_at: Mutex<Instant>,
}

impl Pace {
    /// With 0 nobody waits.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, free_at: Mutex::new(Instant::now()) }
    }

    /// Bytes a second; 0: no bound.
    pub fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }

    /// Waits for as long as these bytes take. Time that was not used is not saved up.
    pub fn pay(&self, bytes: u64) {
        thread::sleep(self.reserve(bytes, Instant::now()));
    }

    /// Reserves the time that these bytes take, and says when it is over.
    pub(crate) fn reserve(&self, bytes: u64, now: Instant) -> Duration {
        if self.bytes_per_second == 0 {
            return Duration::ZERO;
        }
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let mut free_at = self.free_at.lock();
        *free_at = (*free_at).max(now) + takes;
        *free_at - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_share_a_pace_wait_for_each_other() {
        let pace = Pace::new(1000);
        let now = Instant::now() + Duration::from_secs(1);
        assert_eq!(pace.reserve(500, now), Duration::from_millis(500));
        assert_eq!(pace.reserve(1000, now), Duration::from_millis(1500));
        assert_eq!(pace.reserve(1, now + Duration::from_secs(10)), Duration::from_millis(1), "none is saved up");
        assert_eq!(Pace::new(0).reserve(u64::MAX, now), Duration::ZERO);
    }
}
