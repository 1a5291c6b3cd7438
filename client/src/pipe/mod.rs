//! One stream to one node: many requests in flight, answers in any order.
//!
//! ```text
//! callers ─► permits (bound) ─► queue ─► Outgoing (drawn by the HTTP/2 task, which packs what is ready)
//!    ▲                                       │ id
//!    └──────────── oneshot ◄── InFlight ◄────┴──── reader task
//! ```
//!
//! The queue needs no bound of its own: what is in it holds permits. It knows nothing about shards or retries.

mod connect;
mod in_flight;
mod outgoing;

use std::{sync::Arc, time::Duration};

use granary_proto::kv::{
    GetClusterMapRequest, GetClusterMapResponse, kv_client::KvClient, pipe_request::Request, pipe_response::Response,
};
use prost::Message as _;
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
};
use tonic::transport::Channel;

pub(crate) use self::{connect::Limits, in_flight::Broken};
use self::{in_flight::InFlight, outgoing::Job};

/// An open stream. Dropped: the stream is cut.
#[derive(Debug)]
pub(crate) struct Pipe {
    queue: mpsc::UnboundedSender<Job>,
    in_flight: Arc<InFlight>,
    unary: KvClient<Channel>,
    reader: AbortHandle,
}

/// A request's answer to come.
pub(crate) type Answer = oneshot::Receiver<Result<Response, Broken>>;

impl Pipe {
    /// Connects and waits for the node's welcome. The error says why not.
    pub(crate) async fn connect(address: &str, limits: &Limits) -> Result<Self, String> {
        connect::connect(address, limits).await
    }

    /// Queues a request; waits while too much is in flight. The answer fails when the stream breaks.
    pub(crate) async fn submit(&self, request: Request, timeout_ms: u32) -> Result<Answer, Broken> {
        let weight = self.in_flight.weight(encoded_len(&request));
        let permits = self.in_flight.permits(weight).await?;
        let (answer, answered) = oneshot::channel();
        let job = Job { request, timeout_ms, weight, answer };
        // The permits now belong to the job; whoever ends it gives them back.
        permits.forget();
        self.queue.send(job).map_err(|_| self.in_flight.broken(false))?;
        Ok(answered)
    }

    /// Why an answer's sender was dropped without a word: the request was still in the queue when the stream broke.
    pub(crate) fn never_sent(&self) -> Broken {
        self.in_flight.broken(false)
    }

    /// Breaks the stream: every request in flight fails.
    pub(crate) fn cut(&self, cause: &str) {
        self.in_flight.cut(cause);
        self.reader.abort();
    }

    /// Whether the stream is broken.
    pub(crate) fn is_broken(&self) -> bool {
        self.in_flight.is_broken()
    }

    /// Time since the node's last message on this stream.
    pub(crate) fn silent_for(&self) -> Duration {
        self.in_flight.silent_for()
    }

    /// Asks for the cluster map, beside the stream.
    pub(crate) async fn cluster_map(&self, known_version: u64) -> Result<GetClusterMapResponse, String> {
        let answer = self.unary.clone().get_cluster_map(GetClusterMapRequest { known_version }).await;
        answer.map(tonic::Response::into_inner).map_err(|status| connect::describe(&status))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.cut("the connection was closed by this client");
    }
}

fn encoded_len(request: &Request) -> usize {
    match request {
        Request::Get(inner) => inner.encoded_len(),
        Request::Put(inner) => inner.encoded_len(),
        Request::Delete(inner) => inner.encoded_len(),
        Request::CompareAndSet(inner) => inner.encoded_len(),
        Request::Batch(inner) => inner.encoded_len(),
        Request::Txn(inner) => inner.encoded_len(),
        Request::DeleteRange(inner) => inner.encoded_len(),
        Request::Scan(inner) => inner.encoded_len(),
    }
}
