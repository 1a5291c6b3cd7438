//! The numbers of this client's writes to one shard that have no answer yet.
//!
//! Tells the cluster which answers it may forget. Numbers are drawn under the lock of the shard's window, so that a
//! smaller number never enters behind a larger one: the larger one's `answered_below` would have disowned it.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
};

use granary_common::limits::MAX_UNANSWERED;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The window of one shard, from its smallest unanswered number to its newest: at most 1,024 writes.
#[derive(Debug, Default)]
pub(crate) struct Unanswered {
    window: Mutex<VecDeque<Entry>>,
    moved: Notify,
}

#[derive(Debug)]
struct Entry {
    sequence: u64,
    answered: bool,
}

/// A write's place in the window; dropped when it is answered or given up, for then it is not sent again.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    owner: &'a Unanswered,
    /// The write's number.
    pub(crate) sequence: u64,
}

impl Unanswered {
    /// Draws the next number from `counter` (shared by all shards); waits while the window is full.
    pub(crate) async fn begin(&self, counter: &AtomicU64) -> Ticket<'_> {
        loop {
            // Registered before the look, so that a move in between is not missed.
            let moved = self.moved.notified();
            if let Some(ticket) = self.try_begin(counter) {
                return ticket;
            }
            moved.await;
        }
    }

    /// Draws the next number, unless the window is full.
    pub(crate) fn try_begin(&self, counter: &AtomicU64) -> Option<Ticket<'_>> {
        let mut window = self.window.lock();
        if window.len() as u64 >= MAX_UNANSWERED {
            return None;
        }
        let sequence = counter.fetch_add(1, Ordering::Relaxed);
        window.push_back(Entry { sequence, answered: false });
        Some(Ticket { owner: self, sequence })
    }
}

impl Ticket<'_> {
    /// The smallest number that is unanswered now.
    pub(crate) fn answered_below(&self) -> u64 {
        self.owner.window.lock().front().map_or(self.sequence, |entry| entry.sequence)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut window = self.owner.window.lock();
        if let Ok(place) = window.binary_search_by_key(&self.sequence, |entry| entry.sequence) {
            window[place].answered = true;
        }
        let before = window.len();
        while window.front().is_some_and(|entry| entry.answered) {
            window.pop_front();
        }
        if before as u64 >= MAX_UNANSWERED && window.len() < before {
            self.owner.moved.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answered_below_is_the_smallest_unanswered_number() {
        let (window, counter) = (Unanswered::default(), AtomicU64::new(7));
        let a = window.try_begin(&counter).unwrap();
        let b = window.try_begin(&counter).unwrap();
        let c = window.try_begin(&counter).unwrap();
        assert_eq!((a.sequence, b.sequence, c.sequence), (7, 8, 9));
        assert_eq!(c.answered_below(), 7);
        drop(b);
        assert_eq!(c.answered_below(), 7);
        drop(a);
        assert_eq!(c.answered_below(), 9);
    }

    #[test]
    fn a_full_window_gives_no_number_until_its_front_is_answered() {
        let (window, counter) = (Unanswered::default(), AtomicU64::new(1));
        let mut tickets: Vec<_> = (0..MAX_UNANSWERED).map(|_| window.try_begin(&counter).unwrap()).collect();
        assert!(window.try_begin(&counter).is_none());
        tickets.pop();
        assert!(window.try_begin(&counter).is_none(), "the front is still unanswered");
        tickets.remove(0);
        assert!(window.try_begin(&counter).is_some());
    }
}
