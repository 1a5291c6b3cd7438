//! How long a process that does not stay up is left alone.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// A process that lived so long begins anew.
const LIVED: Duration = Duration::from_secs(30);

/// Counts deaths in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// A process died after `life`: how long to wait before the next start.
    pub(super) fn died(&mut self, life: Duration) -> Duration {
        if life >= LIVED {
            self.deaths = 0;
        }
        let wait = FIRST.saturating_mul(1 << self.deaths.min(10)).min(LONGEST);
        self.deaths = self.deaths.saturating_add(1);
        wait
    }

    /// Deaths in a row.
    pub(super) fn deaths(self) -> u32 {
        self.deaths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_from_a_tenth_of_a_second_to_ten_and_begins_anew_after_a_long_life() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..9).map(|_| backoff.died(Duration::from_secs(1)).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        assert_eq!(backoff.died(Duration::from_secs(30)).as_millis(), 100);
        assert_eq!(backoff.deaths(), 1);
    }
}
