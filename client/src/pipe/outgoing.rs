//! What a stream sends. The HTTP/2 task draws from it and packs all that is ready into one frame, so that many small
//! requests cost few system calls; when the node does not read, nothing is drawn.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::Stream;
use granary_proto::kv::{PipeRequest, pipe_request::Request};
use tokio::sync::mpsc;

use super::in_flight::{Asker, InFlight};

/// A request on its way, with the permits that it holds.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request: Request,
    pub(super) timeout_ms: u32,
    pub(super) weight: u32,
    pub(super) answer: Asker,
}

/// The stream of requests.
pub(super) struct Outgoing {
    pub(super) queue: mpsc::UnboundedReceiver<Job>,
    pub(super) in_flight: Arc<InFlight>,
}

impl Stream for Outgoing {
    type Item = PipeRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PipeRequest>> {
        while let Some(job) = ready!(self.queue.poll_recv(cx)) {
            let Job { request, timeout_ms, weight, answer } = job;
            // Its caller has given up: it need not be sent.
            if answer.is_closed() {
                self.in_flight.release(weight);
                continue;
            }
            match self.in_flight.enter(answer, weight) {
                Some(id) => return Poll::Ready(Some(PipeRequest { id, timeout_ms, request: Some(request) })),
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(None)
    }
}
