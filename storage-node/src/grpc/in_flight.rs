//! What is under way on one Pipe, counted from the reading of a request until its answer was written: so that a client
//! that sends and never reads costs bounded memory. Knows no requests.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// Bounds of one Pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipeLimits {
    /// Requests under way.
    pub requests: usize,
    /// Bytes of requests and answers under way. One request is let through in any case.
    pub bytes: usize,
}

impl Default for PipeLimits {
    fn default() -> Self {
        Self { requests: 1024, bytes: 32 << 20 }
    }
}

/// The count. One task takes credits, any task gives them back.
pub(super) struct InFlight {
    limits: PipeLimits,
    requests: AtomicUsize,
    bytes: AtomicUsize,
    freed: Notify,
}

impl InFlight {
    pub(super) fn new(limits: PipeLimits) -> Arc<Self> {
        Arc::new(Self { limits, requests: AtomicUsize::new(0), bytes: AtomicUsize::new(0), freed: Notify::new() })
    }

    /// Waits until a request of this many bytes fits. To be called by one task only: it alone adds, so that what fits
    /// still fits when it is taken.
    pub(super) async fn take(self: &Arc<Self>, bytes: usize) -> Credit {
        while !self.fits(bytes) {
            // A credit given back since the look is kept as a permit, and wakes at once.
            self.freed.notified().await;
        }
        self.requests.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        Credit { in_flight: self.clone(), bytes }
    }

    fn fits(&self, bytes: usize) -> bool {
        let requests = self.requests.load(Ordering::Acquire);
        let taken = self.bytes.load(Ordering::Acquire);
        requests == 0 || (requests < self.limits.requests && taken.saturating_add(bytes) <= self.limits.bytes)
    }
}

/// One request under way; given back when dropped.
pub(super) struct Credit {
    in_flight: Arc<InFlight>,
    bytes: usize,
}

impl Credit {
    /// From now on it counts for this many bytes. More than fit is allowed: the answer is there already.
    pub(super) fn resize(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.in_flight.bytes.fetch_add(bytes - self.bytes, Ordering::AcqRel);
        } else {
            self.in_flight.bytes.fetch_sub(self.bytes - bytes, Ordering::AcqRel);
            self.in_flight.freed.notify_one();
        }
        self.bytes = bytes;
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        self.in_flight.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        self.in_flight.requests.fetch_sub(1, Ordering::AcqRel);
        self.in_flight.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn in_flight(requests: usize, bytes: usize) -> Arc<InFlight> {
        InFlight::new(PipeLimits { requests, bytes })
    }

    #[tokio::test]
    async fn no_more_requests_than_allowed_are_under_way() {
        let in_flight = in_flight(2, 100);
        let first = in_flight.take(1).await;
        let _second = in_flight.take(1).await;
        assert!(in_flight.take(1).now_or_never().is_none());
        drop(first);
        assert!(in_flight.take(1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn bytes_are_freed_when_an_answer_is_smaller_than_reserved() {
        let in_flight = in_flight(10, 100);
        let mut credit = in_flight.take(90).await;
        assert!(in_flight.take(20).now_or_never().is_none());
        credit.resize(80);
        assert!(in_flight.take(20).now_or_never().is_some());
        credit.resize(500);
        assert!(in_flight.take(1).now_or_never().is_none());
        drop(credit);
        assert!(in_flight.take(100).now_or_never().is_some());
    }

    #[tokio::test]
    async fn one_request_larger_than_the_bound_is_let_through_alone() {
        let in_flight = in_flight(10, 100);
        let large = in_flight.take(1000).await;
        assert!(in_flight.take(1).now_or_never().is_none());
        drop(large);
        let _small = in_flight.take(1).await;
        assert!(in_flight.take(1000).now_or_never().is_none());
    }
}
