//! Drain and its end, and the removal of a node: a node leaves for good only when no shard needs it.

use granary_common::NodeId;
use granary_proto::{
    admin::{
        CanRemoveRequest, CanRemoveResponse, CancelDrainRequest, CancelDrainResponse, DrainRequest, DrainResponse,
        GetDrainProgressRequest, GetDrainProgressResponse, RemoveNodeRequest, RemoveNodeResponse,
    },
    storage::meta_command::Operation,
};
use tonic::Status;

use super::{
    check,
    state::{Known, confirmed},
};
use crate::{
    member::Member,
    meta::{done, guard},
};

pub(super) async fn drain(member: &Member, request: DrainRequest) -> Result<DrainResponse, Status> {
    done(member.meta.propose(Operation::Drain(request)).await?)?;
    Ok(DrainResponse {})
}

pub(super) async fn cancel_drain(member: &Member, request: CancelDrainRequest) -> Result<CancelDrainResponse, Status> {
    done(member.meta.propose(Operation::CancelDrain(request)).await?)?;
    Ok(CancelDrainResponse {})
}

pub(super) async fn drain_progress(
    member: &Member,
    request: GetDrainProgressRequest,
) -> Result<GetDrainProgressResponse, Status> {
    confirmed(member, |known| {
        check::node(known.map, "node_id", request.node_id)?;
        Ok(guard::drain_progress(known.map, known.view, NodeId(request.node_id), known.now))
    })
    .await
}

pub(super) async fn can_remove(member: &Member, request: CanRemoveRequest) -> Result<CanRemoveResponse, Status> {
    let reasons = confirmed(member, |known| {
        check::node(known.map, "node_id", request.node_id)?;
        Ok(reasons(&known, request.node_id))
    })
    .await?;
    Ok(CanRemoveResponse { allowed: reasons.is_empty(), reasons })
}

/// The check, then the entry, which checks targets and reported groups once more: what was decided in between counts.
pub(super) async fn remove(member: &Member, request: RemoveNodeRequest) -> Result<RemoveNodeResponse, Status> {
    let node_id = request.node_id;
    let reasons = confirmed(member, |known| {
        if was_removed(&known, node_id) {
            return Ok(Vec::new());
        }
        check::node(known.map, "node_id", node_id)?;
        Ok(reasons(&known, node_id))
    })
    .await?;
    if !reasons.is_empty() {
        let message = format!("node {node_id} cannot be removed: {}", reasons.join("; "));
        return Err(Status::failed_precondition(message));
    }
    done(member.meta.propose(Operation::RemoveNode(request)).await?)?;
    Ok(RemoveNodeResponse {})
}

fn reasons(known: &Known<'_>, node_id: u64) -> Vec<String> {
    guard::can_remove(known.map, known.view, NodeId(node_id), known.now)
}

/// Whether the id was given out once and its node is gone: to remove it again is no error.
fn was_removed(known: &Known<'_>, node_id: u64) -> bool {
    (1..known.state.next_node_id).contains(&node_id) && !known.map.nodes.iter().any(|node| node.id == node_id)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use granary_proto::storage::MetaState;

    use super::*;
    use crate::meta::view::View;
    use granary_duties::testing::map;

    #[test]
    fn only_an_id_that_was_given_out_counts_as_removed() {
        let state = MetaState { next_node_id: 5, ..MetaState::default() };
        let (map, view) = (map(3, &[]), View::default());
        let known = Known { state: &state, map: &map, view: &view, now: Instant::now() };
        assert!(was_removed(&known, 4));
        assert!(!was_removed(&known, 3), "it is there");
        assert!(!was_removed(&known, 5) && !was_removed(&known, 0), "it never was");
    }
}
