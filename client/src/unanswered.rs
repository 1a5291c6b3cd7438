//! The numbers of this client's writes to one shard that have no answer yet.
//!
//! Tells the cluster which answers it may forget. Each shard has numbers of its own, without gaps: the shard bounds how
//! far a number may lie above the smallest unanswered one, so that numbers drawn for other shards must not widen it.
//! They are drawn under the lock of the window, so that a smaller number never enters behind a larger one: the larger
//! one's `answered_below` would have disowned it.

use std::collections::VecDeque;

use granary_common::limits::MAX_UNANSWERED;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The window of one shard, from its smallest unanswered number to its newest: at most 1,024 writes.
#[derive(Debug)]
pub(crate) struct Unanswered {
    window: Mutex<Window>,
    moved: Notify,
}

#[derive(Debug)]
struct Window {
    /// The smallest unanswered number, or the next one to be drawn; from 1 up.
    front: u64,
    /// Of each number from `front` up, whether it is answered.
    answered: VecDeque<bool>,
}

/// A write's place in the window; dropped when it is answered or given up, for then it is not sent again.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    owner: &'a Unanswered,
    /// The write's number.
    pub(crate) sequence: u64,
}

impl Unanswered {
    /// No number was drawn yet.
    pub(crate) fn new() -> Self {
        Self { window: Mutex::new(Window { front: 1, answered: VecDeque::new() }), moved: Notify::new() }
    }

    /// Draws the next number; waits while the window is full.
    pub(crate) async fn begin(&self) -> Ticket<'_> {
        loop {
            // Registered before the look, so that a move in between is not missed.
            let moved = self.moved.notified();
            if let Some(ticket) = self.try_begin() {
                return ticket;
            }
            moved.await;
        }
    }

    /// Draws the next number, unless the window is full.
    pub(crate) fn try_begin(&self) -> Option<Ticket<'_>> {
        let mut window = self.window.lock();
        let held = window.answered.len() as u64;
        if held >= MAX_UNANSWERED {
            return None;
        }
        window.answered.push_back(false);
        Some(Ticket { owner: self, sequence: window.front + held })
    }
}

impl Ticket<'_> {
    /// The smallest number that is unanswered now.
    pub(crate) fn answered_below(&self) -> u64 {
        self.owner.window.lock().front
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut window = self.owner.window.lock();
        let before = window.answered.len() as u64;
        let place = self.sequence.checked_sub(window.front).and_then(|place| usize::try_from(place).ok());
        if let Some(answered) = place.and_then(|place| window.answered.get_mut(place)) {
            *answered = true;
        }
        while window.answered.front() == Some(&true) {
            window.answered.pop_front();
            window.front += 1;
        }
        if before >= MAX_UNANSWERED && (window.answered.len() as u64) < before {
            self.owner.moved.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answered_below_is_the_smallest_unanswered_number() {
        let window = Unanswered::new();
        let a = window.try_begin().unwrap();
        let b = window.try_begin().unwrap();
        let c = window.try_begin().unwrap();
        assert_eq!((a.sequence, b.sequence, c.sequence), (1, 2, 3));
        assert_eq!(c.answered_below(), 1);
        drop(b);
        assert_eq!(c.answered_below(), 1);
        drop(a);
        assert_eq!(c.answered_below(), 3);
        drop(c);
        let d = window.try_begin().unwrap();
        assert_eq!((d.sequence, d.answered_below()), (4, 4), "a number is never drawn twice");
    }

    #[test]
    fn a_full_window_gives_no_number_until_its_front_is_answered() {
        let window = Unanswered::new();
        let mut tickets: Vec<_> = (0..MAX_UNANSWERED).map(|_| window.try_begin().unwrap()).collect();
        assert!(window.try_begin().is_none());
        tickets.pop();
        assert!(window.try_begin().is_none(), "the front is still unanswered");
        tickets.remove(0);
        assert!(window.try_begin().is_some());
    }

    #[test]
    fn no_number_lies_further_above_the_smallest_unanswered_one_than_a_shard_takes() {
        let window = Unanswered::new();
        let slow = window.try_begin().unwrap();
        while let Some(fast) = window.try_begin() {
            assert!(fast.sequence - fast.answered_below() < MAX_UNANSWERED);
        }
        assert_eq!(slow.answered_below(), slow.sequence);
    }
}
