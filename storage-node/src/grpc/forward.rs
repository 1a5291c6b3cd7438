//! One hop to the leader, for clients that cannot reach every node.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use granary_common::NodeId;
use granary_proto::kv::{Error, Reason, Routing, kv_client::KvClient, pipe_request::Request, pipe_response::Response};
use tonic::{
    Status,
    metadata::{AsciiMetadataValue as AsciiValue, MetadataMap, MetadataValue},
    transport::Channel,
};

use super::{errors, kind::Kind};
use crate::{drivers::remaining, member::Member};

/// Metadata of a call that is passed on: the cluster that it is meant for. A leader that died may have left its address to
/// a node of another one (HAZARDS H28).
const MEANT_FOR: &str = "granary-cluster-id";
/// Nodes that are asked in turn, each named by the one before: a leader that just moved is found, a circle ends.
const MAX_ASKED: usize = 3;

/// The request as the leader shall get it, if it is wanted that it is passed on. Requests that span shards are passed on
/// part by part instead.
pub(super) fn copy_to_forward(request: &Request) -> Option<Request> {
    if !routing(request).is_some_and(|routing| routing.forward) {
        return None;
    }
    let mut copy = request.clone();
    match &mut copy {
        Request::Get(request) => request.routing = None,
        Request::Put(request) => request.routing = None,
        Request::Delete(request) => request.routing = None,
        Request::CompareAndSet(request) => request.routing = None,
        Request::Txn(request) => request.routing = None,
        // The walk over shards is this node's: the leader knows one of them.
        Request::Scan(_) | Request::Batch(_) | Request::DeleteRange(_) => return None,
    }
    Some(copy)
}

fn routing(request: &Request) -> Option<Routing> {
    match request {
        Request::Get(request) => request.routing,
        Request::Put(request) => request.routing,
        Request::Delete(request) => request.routing,
        Request::CompareAndSet(request) => request.routing,
        Request::Txn(request) => request.routing,
        Request::Scan(request) => request.routing,
        Request::Batch(request) => request.routing,
        Request::DeleteRange(request) => request.routing,
    }
}

/// Asks the leader that `refusal` names, and where that one refuses too, the one it names. When nobody is named or
/// reachable for sure, the last refusal is the answer.
pub(super) async fn to_leader(
    member: &Arc<Member>,
    request: Request,
    mut refusal: Error,
    deadline: Instant,
) -> Result<Response, Error> {
    for _ in 0..MAX_ASKED {
        let Some(leader) = leader(&refusal).filter(|leader| *leader != member.id()) else { break };
        let Some(client) = member.peers.kv_client(leader) else { break };
        let left = remaining(deadline);
        if left.is_zero() {
            break;
        }
        match ask(member, client, request.clone(), left).await {
            Err(error) if error.reason() == Reason::NotLeader => refusal = error,
            answer => return answer,
        }
    }
    Err(refusal)
}

fn leader(refusal: &Error) -> Option<NodeId> {
    refusal.hint.as_ref().map(|hint| hint.leader_node_id).filter(|id| *id != 0).map(NodeId)
}

/// Refuses a call, or a Pipe, that is meant for another cluster than `own`: a node that moved may have left its address to
/// one of another cluster (HAZARDS H28). A caller may name none.
pub(super) fn check_meant(own: Option<&str>, metadata: &MetadataMap) -> Result<(), Status> {
    match metadata.get(MEANT_FOR) {
        Some(meant) if own.is_none_or(|own| meant.as_bytes() != own.as_bytes()) => {
            let error = errors::not_ready("the request was meant for another cluster; nothing was done, try again");
            Err(errors::to_status(&error))
        }
        _ => Ok(()),
    }
}

async fn ask(member: &Member, client: KvClient<Channel>, request: Request, limit: Duration) -> Result<Response, Error> {
    let kind = Kind::of(&request);
    let Ok(cluster) = MetadataValue::try_from(&member.identity.cluster_id) else {
        return Err(errors::internal("the id of the cluster cannot be sent"));
    };
    match tokio::time::timeout(limit, call(client, request, limit, &cluster)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(status)) => Err(errors::from_status(&status).unwrap_or_else(|| lost(kind, status.message()))),
        Err(_) => Err(lost(kind, "the time limit passed")),
    }
}

/// The answer did not come, and so nobody knows what became of the request.
fn lost(kind: Kind, why: &str) -> Error {
    let reason = if kind.writes() { Reason::OutcomeUnknown } else { Reason::Timeout };
    granary_machine::kv::kv_error(reason, format!("the request was passed on to the leader, and no answer came: {why}"))
}

async fn call(
    mut client: KvClient<Channel>,
    request: Request,
    limit: Duration,
    cluster: &AsciiValue,
) -> Result<Response, Status> {
    fn timed<T>(body: T, limit: Duration, cluster: &AsciiValue) -> tonic::Request<T> {
        let mut request = tonic::Request::new(body);
        request.set_timeout(limit);
        request.metadata_mut().insert(MEANT_FOR, cluster.clone());
        request
    }
    Ok(match request {
        Request::Get(body) => Response::Get(client.get(timed(body, limit, cluster)).await?.into_inner()),
        Request::Put(body) => Response::Put(client.put(timed(body, limit, cluster)).await?.into_inner()),
        Request::Delete(body) => Response::Delete(client.delete(timed(body, limit, cluster)).await?.into_inner()),
        Request::CompareAndSet(body) => {
            Response::CompareAndSet(client.compare_and_set(timed(body, limit, cluster)).await?.into_inner())
        }
        Request::Txn(body) => Response::Txn(client.txn(timed(body, limit, cluster)).await?.into_inner()),
        Request::Batch(body) => Response::Batch(client.batch(timed(body, limit, cluster)).await?.into_inner()),
        Request::DeleteRange(body) => {
            Response::DeleteRange(client.delete_range(timed(body, limit, cluster)).await?.into_inner())
        }
        Request::Scan(body) => {
            // The rest of the stream is dropped: one page was asked for.
            let first = client.scan(timed(body, limit, cluster)).await?.into_inner().message().await?;
            Response::Scan(first.ok_or_else(|| Status::unavailable("the stream of pages was empty"))?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_was_passed_on_is_taken_by_the_cluster_that_it_is_meant_for() {
        let mut metadata = MetadataMap::new();
        assert!(check_meant(Some("ours"), &metadata).is_ok(), "a client's own");
        metadata.insert(MEANT_FOR, "ours".parse().unwrap());
        assert!(check_meant(Some("ours"), &metadata).is_ok());
        for own in [Some("theirs"), None] {
            let refused = errors::from_status(&check_meant(own, &metadata).unwrap_err()).unwrap();
            assert_eq!(refused.reason(), Reason::NotReady, "{own:?}");
        }
    }
}
