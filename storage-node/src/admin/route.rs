//! Where a call is answered: here, or at the leader of the meta shard, one hop away.

use std::{sync::Arc, time::Duration};

use granary_proto::admin::admin_client::AdminClient;
use tonic::{Request, Status, metadata::MetadataValue, transport::Channel};

use crate::{member::Member, node::Node};

/// Marks a call that was passed on once; it is never passed on again.
const FORWARDED: &str = "granary-forwarded";
/// Marks transfers that the meta shard's leader brings to the node that leads those shards.
const CARRIED: &str = "granary-carried";
/// Longest wait for a call that was passed on: longer than the longest answer takes.
const LIMIT: Duration = Duration::from_secs(15);

/// See the module.
pub(super) enum Route<'a> {
    Here(&'a Arc<Member>),
    There(AdminClient<Channel>),
}

const BLANK: &str = "this node is blank: it belongs to no cluster";

/// The member, or "blank".
pub(super) fn member(node: &Node) -> Result<&Arc<Member>, Status> {
    node.member().ok_or_else(|| Status::failed_precondition(BLANK))
}

/// Decides where the call is answered.
pub(super) fn route<'a, T>(node: &'a Node, request: &Request<T>) -> Result<Route<'a>, Status> {
    // Whoever passed the call on took a node for the leader that has lost its disk since: somebody else may know better.
    let unavailable = || Status::unavailable(BLANK);
    let member = if is_forwarded(request) { node.member().ok_or_else(unavailable)? } else { member(node)? };
    if member.meta.leads() {
        return Ok(Route::Here(member));
    }
    let not_leader = member.meta.not_leader();
    if is_forwarded(request) {
        return Err(not_leader);
    }
    let leader = member.meta.meta_leader().filter(|leader| *leader != member.id());
    let client = leader.and_then(|leader| member.peers.admin_client(leader));
    client.map(Route::There).ok_or(not_leader)
}

fn is_forwarded<T>(request: &Request<T>) -> bool {
    request.metadata().contains_key(FORWARDED)
}

/// Whether the call is for the leaders on this node, not for the leader of the meta shard.
pub(super) fn is_carried<T>(request: &Request<T>) -> bool {
    request.metadata().contains_key(CARRIED)
}

/// The call to be passed on.
pub(super) fn forwarded<T>(content: T) -> Request<T> {
    marked(content, FORWARDED)
}

/// The call to be carried to a leader of data shards.
pub(super) fn carried<T>(content: T) -> Request<T> {
    marked(content, CARRIED)
}

fn marked<T>(content: T, mark: &'static str) -> Request<T> {
    let mut request = Request::new(content);
    request.metadata_mut().insert(mark, MetadataValue::from_static("1"));
    request.set_timeout(LIMIT);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passed_on_call_is_known_as_such_and_a_carried_one_is_another() {
        let (plain, passed, brought) = (Request::new(()), forwarded(()), carried(()));
        assert!(!is_forwarded(&plain) && !is_carried(&plain));
        assert!(is_forwarded(&passed) && !is_carried(&passed));
        assert!(is_carried(&brought) && !is_forwarded(&brought));
    }
}
