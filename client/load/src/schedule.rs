//! When requests are due. With a rate each has its time, whether clients are free or not, and its latency counts from
//! there: a system that stands still for a second is seen by all the requests of that second ("coordinated omission",
//! Gil Tene, How not to measure latency). Without one a client asks when it is free.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

/// Hands out times, to all clients of a run.
#[derive(Debug)]
pub(crate) struct Schedule {
    begin: Instant,
    end: Instant,
    rate: Option<u32>,
    taken: AtomicU64,
}

impl Schedule {
    pub(crate) fn new(begin: Instant, time: Duration, rate: Option<u32>) -> Self {
        Self { begin, end: begin + time, rate, taken: AtomicU64::new(0) }
    }

    /// When the next request of this client is due, which may be past. None: nothing is asked any more.
    pub(crate) fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        if now >= self.end {
            return None;
        }
        let Some(rate) = self.rate else { return Some(now) };
        let due = self.begin + after(self.taken.fetch_add(1, Relaxed), rate);
        (due < self.end).then_some(due)
    }

    /// Requests whose time has come and that nobody was free for.
    pub(crate) fn unsent(&self) -> u64 {
        let Some(rate) = self.rate else { return 0 };
        let all = (self.end - self.begin).as_secs_f64() * f64::from(rate);
        (all as u64).saturating_sub(self.taken.load(Relaxed))
    }
}

fn after(number: u64, rate: u32) -> Duration {
    let rate = u64::from(rate.max(1));
    Duration::from_secs(number / rate) + Duration::from_nanos(number % rate * 1_000_000_000 / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn with_a_rate_each_request_has_its_time_whoever_takes_it() {
        let begin = Instant::now();
        let schedule = Schedule::new(begin, Duration::from_secs(1), Some(4));
        let due: Vec<u128> = (0..4).filter_map(|_| schedule.next()).map(|due| (due - begin).as_millis()).collect();
        assert_eq!(due, [0, 250, 500, 750]);
        assert_eq!(schedule.next(), None);
        assert_eq!(schedule.unsent(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_was_free_for_is_counted() {
        let schedule = Schedule::new(Instant::now(), Duration::from_secs(2), Some(1_000));
        assert!(schedule.next().is_some());
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!((schedule.next(), schedule.unsent()), (None, 1_999));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_a_request_is_due_when_it_is_asked_for() {
        let schedule = Schedule::new(Instant::now(), Duration::from_secs(1), None);
        tokio::time::advance(Duration::from_millis(300)).await;
        assert_eq!((schedule.next(), schedule.unsent()), (Some(Instant::now()), 0));
    }
}
