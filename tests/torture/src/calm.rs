//! How long a shard took no write while nothing was wrong: from the end of the last fault, or from its last write, to
//! its next one. Pure but for the lock; times are given.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Last writes of all shards, and since when there are no faults.
#[derive(Debug)]
pub struct Calm {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// None while faults go on.
    since: Option<Instant>,
    last: Vec<Instant>,
    longest: Duration,
}

impl State {
    /// How long shard `index` has waited at `now`, if nothing is wrong.
    fn waited(&self, index: usize, now: Instant) -> Duration {
        let since = self.since.zip(self.last.get(index)).map(|(calm, last)| calm.max(*last));
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

impl Calm {
    /// Of so many shards; calm from now on.
    pub fn new(shards: usize, now: Instant) -> Self {
        Self { state: Mutex::new(State { since: Some(now), last: vec![now; shards], longest: Duration::ZERO }) }
    }

    /// A write of shard `index` was acknowledged.
    pub fn wrote(&self, index: usize, now: Instant) {
        let state = &mut *self.state.lock();
        state.longest = state.longest.max(state.waited(index, now));
        if let Some(last) = state.last.get_mut(index) {
            *last = now;
        }
    }

    /// Faults begin. Who has waited until now has waited.
    pub fn ends(&self, now: Instant) {
        let state = &mut *self.state.lock();
        state.longest = state.longest.max(state.longest_now(now));
        state.since = None;
    }

    /// All faults have ended. Said again, it changes nothing.
    pub fn begins(&self, now: Instant) {
        self.state.lock().since.get_or_insert(now);
    }

    /// Shards that were not written since it is calm, by index.
    pub fn waiting(&self) -> Vec<usize> {
        let state = self.state.lock();
        let Some(since) = state.since else { return Vec::new() };
        (0..state.last.len()).filter(|index| state.last[*index] < since).collect()
    }

    /// Longest wait so far, with those that go on.
    pub fn longest(&self, now: Instant) -> Duration {
        let state = self.state.lock();
        state.longest.max(state.longest_now(now))
    }
}

impl State {
    fn longest_now(&self, now: Instant) -> Duration {
        (0..self.last.len()).map(|index| self.waited(index, now)).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_during_faults_does_not_count_and_what_is_waited_behind_them_does() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let calm = Calm::new(2, start);
        (0..2).for_each(|index| calm.wrote(index, at(1)));
        calm.ends(at(2));
        assert_eq!(calm.longest(at(50)), Duration::from_secs(1));
        calm.begins(at(60));
        calm.begins(at(62));
        calm.wrote(0, at(63));
        assert_eq!(calm.waiting(), [1]);
        assert_eq!(calm.longest(at(63)), Duration::from_secs(3));
        assert_eq!(calm.longest(at(65)), Duration::from_secs(5), "shard 1 still waits");
        calm.ends(at(67));
        assert_eq!(calm.longest(at(90)), Duration::from_secs(7));
    }
}
