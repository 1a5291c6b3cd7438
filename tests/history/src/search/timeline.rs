//! Calls and returns in order of time, as a list from which operations are taken and into which they are put back in the
//! reverse order, each in constant time.

use crate::operation::Operation;

/// The events of the operations that are left. Event `2 * i` is the call of operation `i`, `2 * i + 1` its return; the
/// last index is the head of the ring.
pub(crate) struct Timeline {
    next: Vec<u32>,
    previous: Vec<u32>,
}

impl Timeline {
    /// All events. At the same time calls come before returns. The return of an operation with an unknown outcome comes
    /// at the end of all time.
    pub(crate) fn new(operations: &[&Operation]) -> Self {
        let mut events: Vec<(u64, bool, bool, u32)> = Vec::with_capacity(operations.len() * 2);
        for (index, operation) in (0u32..).zip(operations) {
            events.push((operation.called, false, false, index * 2));
            events.push((operation.open_until(), operation.is_unknown(), true, index * 2 + 1));
        }
        events.sort_unstable_by_key(|&(time, unknown, is_return, event)| (unknown, time, is_return, event));
        let head = (operations.len() * 2) as u32;
        let mut timeline =
            Self { next: vec![head; operations.len() * 2 + 1], previous: vec![head; operations.len() * 2 + 1] };
        let mut last = head;
        for (.., event) in events {
            timeline.link(last, event);
            last = event;
        }
        timeline.link(last, head);
        timeline
    }

    /// Operations that are left and were called before any of them returned, in order of call.
    pub(crate) fn callable(&self) -> impl Iterator<Item = u32> {
        let mut event = self.head();
        std::iter::from_fn(move || {
            event = self.next[event as usize];
            (event != self.head() && event.is_multiple_of(2)).then_some(event / 2)
        })
    }

    pub(crate) fn remove(&mut self, operation: u32) {
        for event in [operation * 2, operation * 2 + 1] {
            self.link(self.previous[event as usize], self.next[event as usize]);
        }
    }

    /// Undoes the last `remove` that was not undone, which must have been of this operation.
    pub(crate) fn restore(&mut self, operation: u32) {
        for event in [operation * 2 + 1, operation * 2] {
            let (previous, next) = (self.previous[event as usize], self.next[event as usize]);
            self.next[previous as usize] = event;
            self.previous[next as usize] = event;
        }
    }

    fn head(&self) -> u32 {
        (self.next.len() - 1) as u32
    }

    fn link(&mut self, before: u32, after: u32) {
        self.next[before as usize] = after;
        self.previous[after as usize] = before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Action, Answer, Outcome};

    fn read(called: u64, returned: u64) -> Operation {
        let outcome = Outcome::Ok(Answer::Held(None));
        Operation { client: 0, key: String::new(), called, returned, action: Action::Read, outcome }
    }

    #[test]
    fn operations_come_back_as_they_were_taken() {
        let operations = [read(0, 5), read(1, 2), read(3, 9), read(6, 8)];
        let operations: Vec<&Operation> = operations.iter().collect();
        let mut timeline = Timeline::new(&operations);
        let callable = |timeline: &Timeline| timeline.callable().collect::<Vec<_>>();
        assert_eq!(callable(&timeline), [0, 1]);
        timeline.remove(1);
        assert_eq!(callable(&timeline), [0, 2]);
        timeline.remove(0);
        assert_eq!(callable(&timeline), [2, 3]);
        timeline.restore(0);
        timeline.restore(1);
        assert_eq!(callable(&timeline), [0, 1]);
    }

    #[test]
    fn who_returns_when_another_is_called_is_concurrent_with_it() {
        let operations = [read(0, 5), read(5, 6)];
        let operations: Vec<&Operation> = operations.iter().collect();
        assert_eq!(Timeline::new(&operations).callable().collect::<Vec<_>>(), [0, 1]);
    }
}
