//! Messages that wait for one stream to one node: bounded by bytes, in order, taken by the newest stream only.

use std::collections::VecDeque;

use granary_duties::standing::Work;
use granary_proto::raft::RaftMessage;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::weight;

/// One queue: a lane to a node.
pub(crate) struct LaneQueue {
    state: Mutex<State>,
    changed: Notify,
    limit: usize,
    frame_bytes: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(usize, RaftMessage)>,
    bytes: usize,
    /// Number of the stream that may take messages; 0: none.
    stream: u64,
    /// How often something was taken out, or thrown away.
    taken: u64,
}

impl LaneQueue {
    /// Takes up to `limit` bytes, gives them out in frames of about `frame_bytes`; a message that is longer than either
    /// goes alone.
    pub(crate) fn new(limit: usize, frame_bytes: usize) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), limit, frame_bytes }
    }

    /// Puts messages behind the others, all before the stream is woken. False: some were dropped, because the queue is full.
    pub(crate) fn push(&self, messages: Vec<RaftMessage>) -> bool {
        let mut all = true;
        let mut state = self.state.lock();
        for message in messages {
            let weight = weight::of(&message);
            if !state.waiting.is_empty() && state.bytes + weight > self.limit {
                all = false;
                continue;
            }
            state.bytes += weight;
            state.waiting.push_back((weight, message));
        }
        drop(state);
        self.changed.notify_waiters();
        all
    }

    /// For the watchdog.
    pub(crate) fn work(&self) -> Work {
        let state = self.state.lock();
        Work { busy: !state.waiting.is_empty(), done: state.taken }
    }

    /// Waits until there is something to send.
    pub(crate) async fn filled(&self) {
        self.when(|state| (!state.waiting.is_empty()).then_some(())).await;
    }

    /// From now on only the stream of this number takes messages.
    pub(crate) fn begin(&self, stream: u64) {
        self.state.lock().stream = stream;
        self.changed.notify_waiters();
    }

    /// Drops what waits, and ends the stream that took from it: what comes later goes out on another one, so that nothing
    /// is sent twice or out of order.
    pub(crate) fn break_off(&self) {
        {
            let mut state = self.state.lock();
            *state = State { taken: state.taken + 1, ..State::default() };
        }
        self.changed.notify_waiters();
    }

    /// Everything that waits, up to a frame's bytes; waits for the first. `None`: this stream's time is over.
    pub(crate) async fn take(&self, stream: u64) -> Option<Vec<RaftMessage>> {
        self.when(|state| {
            if state.stream != stream {
                return Some(None);
            }
            (!state.waiting.is_empty()).then(|| Some(self.frame(state)))
        })
        .await
    }

    fn frame(&self, state: &mut State) -> Vec<RaftMessage> {
        let mut frame = Vec::new();
        let mut bytes = 0;
        while let Some((weight, message)) = state.waiting.pop_front() {
            if !frame.is_empty() && bytes + weight > self.frame_bytes {
                state.waiting.push_front((weight, message));
                break;
            }
            bytes += weight;
            frame.push(message);
        }
        state.bytes -= bytes;
        state.taken += 1;
        frame
    }

    async fn when<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Counts as waiting from here on: a change between the look below and the wait is not missed.
            changed.as_mut().enable();
            if let Some(outcome) = ready(&mut self.state.lock()) {
                return outcome;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use granary_proto::raft::{RaftBody, raft_message::Body};

    use super::*;

    fn message(number: u64, bytes: usize) -> RaftMessage {
        let body = RaftBody { context: vec![0; bytes].into(), ..Default::default() };
        RaftMessage { sent_at_ns: number, body: Some(Body::Raft(body)), ..Default::default() }
    }

    fn numbers(frame: Option<Vec<RaftMessage>>) -> Vec<u64> {
        frame.unwrap().iter().map(|message| message.sent_at_ns).collect()
    }

    #[tokio::test]
    async fn frames_hold_everything_that_waits_in_order_up_to_their_size() {
        let queue = LaneQueue::new(1 << 20, 3000);
        queue.begin(1);
        for number in 1..=4 {
            assert!(queue.push(vec![message(number, 1000)]));
        }
        assert_eq!(numbers(queue.take(1).await), [1, 2]);
        assert_eq!(numbers(queue.take(1).await), [3, 4]);
    }

    #[tokio::test]
    async fn a_full_queue_drops_the_newcomer_and_an_empty_one_takes_even_a_message_over_its_limit() {
        let queue = LaneQueue::new(1, 1);
        queue.begin(1);
        assert!(queue.push(vec![message(1, 100)]));
        assert!(!queue.push(vec![message(2, 100)]));
        assert_eq!(numbers(queue.take(1).await), [1]);
        assert!(queue.push(vec![message(3, 100)]));
        assert_eq!(numbers(queue.take(1).await), [3]);
    }

    #[tokio::test]
    async fn a_stream_that_was_broken_off_gets_nothing_more() {
        let queue = LaneQueue::new(1 << 20, 1 << 20);
        queue.begin(1);
        queue.push(vec![message(1, 1)]);
        queue.break_off();
        queue.push(vec![message(2, 1)]);
        assert_eq!(queue.take(1).await, None);
        queue.begin(2);
        assert_eq!(queue.take(1).await, None);
        assert_eq!(numbers(queue.take(2).await), [2]);
    }
}
