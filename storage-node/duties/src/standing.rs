//! How long something that has work has not gone on.
//!
//! Counted by looks, not by a clock: each look adds the time since the look before, and no more than [`LONGEST_LOOK`]. So
//! a process that was stopped (SIGSTOP, a machine that sleeps) does not take its own pause for a stall of its disk.

use std::time::Duration;

/// What one look adds at most.
pub const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// What a part of the node shows of its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Something waits or is under way.
    pub busy: bool,
    /// How often something was finished; only compared with itself.
    pub done: u64,
}

/// Remembers one part.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    done: u64,
    stood: Duration,
}

impl Standing {
    /// Takes a look, `passed` after the one before: how long there was work and nothing was finished. With one thing at a
    /// time, that is the age of the thing under way.
    pub fn look(&mut self, work: Work, passed: Duration) -> Duration {
        if !work.busy || work.done != self.done {
            *self = Self { done: work.done, stood: Duration::ZERO };
        } else {
            self.stood += passed.min(LONGEST_LOOK);
        }
        self.stood
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(100);

    fn work(busy: bool, done: u64) -> Work {
        Work { busy, done }
    }

    #[test]
    fn only_work_that_does_not_go_on_counts() {
        let mut part = Standing::default();
        assert_eq!(part.look(work(false, 7), LOOK), Duration::ZERO, "idle");
        assert_eq!(part.look(work(true, 7), LOOK), LOOK);
        assert_eq!(part.look(work(true, 7), LOOK), LOOK * 2);
        assert_eq!(part.look(work(true, 8), LOOK), Duration::ZERO, "it went on, and has more to do");
        assert_eq!(part.look(work(true, 8), LOOK), LOOK);
        assert_eq!(part.look(work(false, 8), LOOK), Duration::ZERO);
    }

    #[test]
    fn a_pause_of_the_whole_process_is_no_stall() {
        let mut part = Standing::default();
        part.look(work(true, 1), LOOK);
        assert_eq!(part.look(work(true, 1), Duration::from_secs(3600)), LONGEST_LOOK);
    }
}
