//! From a request to its answer: the one way that unary calls and Pipes take.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use granary_proto::kv::{Error, GetClusterMapResponse, Reason, pipe_request::Request, pipe_response::Response};

use super::{cluster_map, errors, forward, parts, read, scan, write};
use crate::{member::Member, node::Node};

/// A store whose loop has not turned for this long hangs: it turns at least once a tick, or says until when it has nothing to do.
const HANGS: Duration = Duration::from_millis(200);

/// Who answers requests. The node; in tests of the wire also others.
pub trait Execute: Send + Sync + 'static {
    /// Own id; 0 while the node belongs to no cluster.
    fn node_id(&self) -> u64;

    /// The cluster that it is of; `None` while it belongs to none.
    fn cluster_id(&self) -> Option<&str>;

    /// Whether it gets on with its work, however slowly: one that hangs must not say that it lives.
    fn is_turning(&self) -> bool;

    /// The answer, if it can be had without waiting: a read while this node leads and its lease holds. `None` says
    /// nothing of the request.
    fn at_once(&self, request: &Request) -> Option<Response>;

    /// The answer, within `limit`.
    ///
    /// # Errors
    /// For a write, only [`Reason::OutcomeUnknown`] and [`Reason::Internal`] leave open whether it was applied.
    fn execute(&self, request: Request, limit: Duration) -> impl Future<Output = Result<Response, Error>> + Send;

    /// The cluster map, unless `known_version` is the newest.
    ///
    /// # Errors
    /// [`Reason::NotReady`] while the node belongs to no cluster.
    fn cluster_map(&self, known_version: u64) -> Result<GetClusterMapResponse, Error>;
}

impl Execute for Node {
    fn node_id(&self) -> u64 {
        self.member().map_or(0, |member| member.id().0)
    }

    fn cluster_id(&self) -> Option<&str> {
        self.member().map(|member| member.identity.cluster_id.as_str())
    }

    fn is_turning(&self) -> bool {
        self.member().is_some_and(|member| member.store.stands_for() < HANGS)
    }

    fn at_once(&self, request: &Request) -> Option<Response> {
        match request {
            Request::Get(request) => read::get_at_once(self.member()?, request).map(Response::Get),
            _ => None,
        }
    }

    async fn execute(&self, request: Request, limit: Duration) -> Result<Response, Error> {
        execute(member(self)?, request, Instant::now() + limit).await
    }

    fn cluster_map(&self, known_version: u64) -> Result<GetClusterMapResponse, Error> {
        Ok(cluster_map::newest(member(self)?, known_version))
    }
}

fn member(node: &Node) -> Result<&Arc<Member>, Error> {
    node.member().ok_or_else(|| errors::not_ready("the node does not belong to a cluster yet; ask another node"))
}

/// Answers `request` before `deadline`: here, or by the shard's leader when that is wanted and this node does not lead.
async fn execute(member: &Arc<Member>, request: Request, deadline: Instant) -> Result<Response, Error> {
    let again = forward::copy_to_forward(&request);
    match (here(member, request, deadline).await, again) {
        (Err(error), Some(again)) if error.reason() == Reason::NotLeader => {
            Box::pin(forward::to_leader(member, again, error, deadline)).await
        }
        (answer, _) => answer,
    }
}

/// What is large or rare is boxed: each request is a task, which takes the room of the largest of these.
async fn here(member: &Arc<Member>, request: Request, deadline: Instant) -> Result<Response, Error> {
    match request {
        Request::Get(request) => Box::pin(read::get(member, request, deadline)).await.map(Response::Get),
        Request::Scan(request) => Box::pin(scan::page(member, request, deadline)).await.map(Response::Scan),
        Request::Put(request) => write::put(member, request, deadline).await.map(Response::Put),
        Request::Delete(request) => Box::pin(write::delete(member, request, deadline)).await.map(Response::Delete),
        Request::CompareAndSet(request) => {
            Box::pin(write::compare_and_set(member, request, deadline)).await.map(Response::CompareAndSet)
        }
        Request::Txn(request) => Box::pin(write::txn(member, request, deadline)).await.map(Response::Txn),
        Request::Batch(request) => Box::pin(parts::batch(member, request, deadline)).await.map(Response::Batch),
        Request::DeleteRange(request) => {
            Box::pin(parts::delete_range(member, request, deadline)).await.map(Response::DeleteRange)
        }
    }
}
