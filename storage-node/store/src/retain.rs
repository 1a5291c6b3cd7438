//! How much log to keep: the decision what may be purged, from plain numbers.

use std::collections::VecDeque;

use crate::config::Retention;

/// Entries between two marks of [`Sizes`] at most.
const MARK_EVERY: u64 = 64;
/// Bytes behind which there is a mark in any case: with few large entries, limits in bytes would count for nothing.
const MARK_BYTES: u64 = 64 << 10;

/// Remembers how many bytes were appended up to some indexes, so that a limit in bytes can be turned into an index.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    /// (index, bytes appended up to and with it), ascending.
    marks: VecDeque<(u64, u64)>,
    total: u64,
}

impl Sizes {
    pub(crate) fn appended(&mut self, index: u64, bytes: usize) {
        self.total += bytes as u64;
        while self.marks.back().is_some_and(|(last, _)| *last >= index) {
            self.marks.pop_back();
        }
        let is_due = |(last, total): &(u64, u64)| index - last >= MARK_EVERY || self.total - total >= MARK_BYTES;
        if self.marks.back().is_none_or(is_due) {
            self.marks.push_back((index, self.total));
        }
    }

    pub(crate) fn truncated(&mut self, index: u64) {
        while self.marks.front().is_some_and(|(first, _)| *first < index) {
            self.marks.pop_front();
        }
    }

    /// Smallest index such that at most about `bytes` lie behind it.
    fn floor_for(&self, bytes: u64) -> u64 {
        self.marks.iter().rev().find(|(_, total)| self.total - total > bytes).map_or(0, |(index, _)| *index)
    }
}

/// What bounds a purge.
#[derive(Debug)]
pub(crate) struct Bounds {
    /// Last index that is gone already.
    pub(crate) truncated: u64,
    /// Applied and durable: nothing above may go (HAZARDS H3).
    pub(crate) durable: u64,
    /// Last index of the log.
    pub(crate) last: u64,
    /// Lowest index that an active follower, or a snapshot on its way, still needs; `None`: nobody waits.
    pub(crate) needed: Option<u64>,
}

/// Up to which index the log may be purged; `None`: leave it. Purges in steps, not one by one.
pub(crate) fn purge_to(bounds: &Bounds, sizes: &Sizes, retention: &Retention) -> Option<u64> {
    let keep = |entries: u64, bytes: u64| bounds.last.saturating_sub(entries).max(sizes.floor_for(bytes));
    let mut floor = keep(retention.entries, retention.bytes);
    if let Some(needed) = bounds.needed.filter(|needed| *needed <= floor) {
        let at_most = keep(retention.entries_for_followers, retention.bytes_for_followers);
        floor = (needed - 1).max(at_most.min(floor));
    }
    let floor = floor.min(bounds.durable);
    let step = (retention.entries / 8).max(1);
    let worth_it =
        floor >= bounds.truncated + step || (floor > bounds.truncated && floor == sizes.floor_for(retention.bytes));
    worth_it.then_some(floor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETENTION: Retention =
        Retention { entries: 100, bytes: 1000, entries_for_followers: 1000, bytes_for_followers: 100_000 };

    fn sizes(to: u64, bytes: usize) -> Sizes {
        let mut sizes = Sizes::default();
        (1..=to).for_each(|index| sizes.appended(index, bytes));
        sizes
    }

    #[test]
    fn nothing_above_the_durable_index_is_purged() {
        let bounds = Bounds { truncated: 0, durable: 50, last: 500, needed: None };
        assert_eq!(purge_to(&bounds, &sizes(500, 1), &RETENTION), Some(50));
    }

    #[test]
    fn entries_behind_the_limit_go_and_the_rest_stays() {
        let bounds = Bounds { truncated: 0, durable: 500, last: 500, needed: None };
        assert_eq!(purge_to(&bounds, &sizes(500, 1), &RETENTION), Some(400));
        let bounds = Bounds { truncated: 395, durable: 500, last: 500, needed: None };
        assert_eq!(purge_to(&bounds, &sizes(500, 1), &RETENTION), None, "too little to be worth a write");
    }

    #[test]
    fn a_slow_follower_holds_the_purge_up_to_a_bound() {
        let bounds = Bounds { truncated: 0, durable: 800, last: 800, needed: Some(300) };
        assert_eq!(purge_to(&bounds, &sizes(800, 1), &RETENTION), Some(299));
        let bounds = Bounds { truncated: 0, durable: 5000, last: 5000, needed: Some(300) };
        assert_eq!(purge_to(&bounds, &sizes(5000, 1), &RETENTION), Some(4000));
    }

    #[test]
    fn large_entries_are_purged_by_their_bytes() {
        let bounds = Bounds { truncated: 0, durable: 100, last: 100, needed: None };
        let floor = purge_to(&bounds, &sizes(100, 300_000), &RETENTION);
        assert!(floor.is_some_and(|floor| floor >= 98), "{floor:?}");
    }
}
