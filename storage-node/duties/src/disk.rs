//! When a disk is too slow to lead on (HAZARDS H24): one sync of the log takes too long, or they do on average. It is
//! trusted again only when it was good for a while, and for longer each time that it was not.
//!
//! The idea of a score that leaders flee from, with a lower bound to come back, is TiKV's (slow score,
//! evict-slow-store-scheduler); theirs too is the rule that leaders flee only to nodes that are not slow themselves.

use std::time::Duration;

/// How fast an average forgets: what was measured this long ago weighs a third.
const MEMORY: Duration = Duration::from_secs(5);
/// A disk that was slow is not trusted with leaders for so long, at first and at most; doubled when it was slow again
/// within twice that time.
const DISTRUST: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(240));

/// A smoothed latency.
#[derive(Clone, Copy, Debug, Default)]
pub struct Average(f64);

impl Average {
    /// Takes in that something took so long, `since` the end of the one before: what comes seldom weighs more, so that
    /// the average is one over time and not over a count.
    pub fn add(&mut self, took: Duration, since: Duration) -> Duration {
        let weight = 1.0 - (-(since.max(took).as_secs_f64() / MEMORY.as_secs_f64())).exp();
        self.0 += weight * (took.as_secs_f64() - self.0);
        Duration::from_secs_f64(self.0.max(0.0))
    }
}

/// From when on a disk is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowFrom {
    /// A single sync of the log.
    pub single: Duration,
    /// Their average.
    pub average: Duration,
}

/// What is seen of the log's syncs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Syncs {
    /// How long the one under way has taken.
    pub under_way: Duration,
    /// The average of those that ended.
    pub average: Duration,
    /// How many ended.
    pub done: u64,
}

/// What is remembered of the disk.
#[derive(Debug)]
pub struct DiskWatch {
    done: u64,
    slow: bool,
    /// Time since it was seen to be slow; since the start when it never was.
    good_for: Duration,
    distrust: Duration,
}

impl Default for DiskWatch {
    fn default() -> Self {
        Self { done: 0, slow: false, good_for: DISTRUST.1, distrust: DISTRUST.0 }
    }
}

impl DiskWatch {
    /// Takes a look, `passed` after the one before: whether leaders shall leave, or stay away.
    pub fn look(&mut self, from: &SlowFrom, syncs: Syncs, passed: Duration) -> bool {
        // An average counts when something was measured: of a disk that has nothing to do nothing is known.
        let measured = syncs.done != self.done;
        self.done = syncs.done;
        // Half of it to come back, so that one that hovers around the bound does not send leaders to and fro.
        let average = if self.slow { from.average / 2 } else { from.average };
        self.good_for += passed;
        if syncs.under_way >= from.single || (measured && syncs.average >= average) {
            if !self.slow {
                let again = self.good_for < self.distrust * 2;
                self.distrust = if again { (self.distrust * 2).min(DISTRUST.1) } else { DISTRUST.0 };
            }
            (self.slow, self.good_for) = (true, Duration::ZERO);
        } else if self.good_for >= self.distrust {
            self.slow = false;
        }
        self.slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: SlowFrom = SlowFrom { single: Duration::from_secs(2), average: Duration::from_millis(500) };
    const LOOK: Duration = Duration::from_millis(100);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Looks at a disk on which nothing is under way until it is trusted again: after how long.
    fn trusted_after(disk: &mut DiskWatch) -> Duration {
        (1..).map(|look| LOOK * look).find(|_| !disk.look(&FROM, Syncs::default(), LOOK)).unwrap()
    }

    #[test]
    fn one_long_sync_makes_a_disk_slow_for_a_while() {
        let mut disk = DiskWatch::default();
        let under_way = |ms_so_far| Syncs { under_way: ms(ms_so_far), ..Syncs::default() };
        assert!(!disk.look(&FROM, under_way(1999), LOOK));
        assert!(disk.look(&FROM, under_way(2000), LOOK));
        assert_eq!(trusted_after(&mut disk), DISTRUST.0);
    }

    #[test]
    fn a_stall_of_half_a_second_is_nothing() {
        let (mut disk, mut average) = (DiskWatch::default(), Average::default());
        let mut syncs = Syncs::default();
        for _ in 0..1000 {
            syncs.average = average.add(ms(2), ms(5));
        }
        for looks in 0..5 {
            assert!(!disk.look(&FROM, Syncs { under_way: LOOK * looks, ..syncs }, LOOK));
        }
        syncs = Syncs { average: average.add(ms(500), ms(500)), done: 1, ..syncs };
        assert!(!disk.look(&FROM, syncs, LOOK), "{syncs:?}");
    }

    #[test]
    fn many_long_syncs_make_it_slow_within_seconds_and_a_lower_average_good_again() {
        let (mut disk, mut average) = (DiskWatch::default(), Average::default());
        let mut look = |disk: &mut DiskWatch, took: u64, done: u64| {
            let average = average.add(ms(took), ms(took));
            disk.look(&FROM, Syncs { under_way: Duration::ZERO, average, done }, ms(took))
        };
        let slow_after = (1..100).find(|done| look(&mut disk, 900, *done)).unwrap();
        assert!((3..=6).contains(&slow_after), "{slow_after} syncs of 900 ms");
        for done in 100..200 {
            assert!(look(&mut disk, 400, done), "below the bound, and above half of it");
        }
        let good_after: Duration = (200..100_000).take_while(|done| look(&mut disk, 20, *done)).map(|_| ms(20)).sum();
        assert!((ms(15_000)..ms(20_000)).contains(&good_after), "{good_after:?}");
    }

    #[test]
    fn a_disk_without_work_is_not_judged_by_an_old_average() {
        let mut disk = DiskWatch::default();
        let seen = Syncs { under_way: Duration::ZERO, average: ms(900), done: 3 };
        assert!(disk.look(&FROM, seen, LOOK));
        let looks = (1..).find(|_| !disk.look(&FROM, seen, LOOK)).unwrap();
        assert_eq!(LOOK * looks, DISTRUST.0);
    }

    #[test]
    fn distrust_doubles_when_it_is_slow_again_soon_and_has_an_end() {
        let mut disk = DiskWatch::default();
        let mut last = Vec::new();
        for _ in 0..6 {
            assert!(disk.look(&FROM, Syncs { under_way: FROM.single, ..Syncs::default() }, LOOK));
            last.push(trusted_after(&mut disk).as_secs());
        }
        assert_eq!(last, [15, 30, 60, 120, 240, 240]);
        let mut rest = |time| disk.look(&FROM, Syncs::default(), time);
        assert!(!rest(DISTRUST.1 * 2));
        assert!(disk.look(&FROM, Syncs { under_way: FROM.single, ..Syncs::default() }, LOOK));
        assert_eq!(trusted_after(&mut disk), DISTRUST.0);
    }
}
