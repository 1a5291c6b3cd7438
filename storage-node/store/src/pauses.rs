//! How often something is tried that did not help: after pauses that double, and from the beginning again when it was not
//! wanted for long.

/// Remembers one thing that is tried. Counted in ticks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pauses {
    not_before: u64,
    pause: u64,
}

impl Pauses {
    /// Whether it may be tried at `tick`; then it counts as tried. Pauses are from `first` to `longest` ticks.
    pub(crate) fn may(&mut self, tick: u64, first: u64, longest: u64) -> bool {
        if tick < self.not_before {
            return false;
        }
        let is_long_ago = tick >= self.not_before + self.pause * 4;
        self.pause = if is_long_ago { first } else { (self.pause * 2).min(longest) };
        self.not_before = tick + self.pause;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_always_wanted_is_tried_ever_more_seldom() {
        let mut pauses = Pauses::default();
        let tried: Vec<u64> = (0..1_000).filter(|tick| pauses.may(*tick, 10, 160)).collect();
        assert_eq!(tried, [0, 10, 30, 70, 150, 310, 470, 630, 790, 950]);
    }

    #[test]
    fn what_was_not_wanted_for_long_begins_anew() {
        let mut pauses = Pauses::default();
        for tick in 0..1_000 {
            pauses.may(tick, 10, 160);
        }
        assert!(pauses.may(5_000, 10, 160) && !pauses.may(5_009, 10, 160) && pauses.may(5_010, 10, 160));
    }
}
