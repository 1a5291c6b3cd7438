//! CanStop, ReserveStop, ReleaseStop: may this node be stopped for a while?

use std::time::Duration;

use granary_common::NodeId;
use granary_machine::meta::{STOP_HELD_MS, stop_hold};
use granary_proto::{
    admin::{CanStopRequest, CanStopResponse, ReleaseStopRequest, ReleaseStopResponse, ReserveStopRequest},
    storage::meta_command::Operation,
};
use tonic::Status;

use super::{
    check,
    state::{Known, confirmed},
};
use crate::{
    drivers::clock,
    member::Member,
    meta::{done, guard},
};

pub(super) async fn can_stop(member: &Member, request: CanStopRequest) -> Result<CanStopResponse, Status> {
    let reasons = confirmed(member, |known| reasons(&known, request.node_id)).await?;
    Ok(CanStopResponse { allowed: reasons.is_empty(), reasons, held_for_ms: 0 })
}

/// The check, the entry, and the check again: between the two, another node may have gone.
pub(super) async fn reserve(member: &Member, request: ReserveStopRequest) -> Result<CanStopResponse, Status> {
    let node_id = request.node_id;
    let before = confirmed(member, |known| {
        Ok(other_hold(&known, node_id, clock::unix_ms()).map_or(reasons(&known, node_id)?, |held| vec![held]))
    })
    .await?;
    if !before.is_empty() {
        return Ok(CanStopResponse { allowed: false, reasons: before, held_for_ms: 0 });
    }
    let operator_token = request.operator_token;
    done(member.meta.propose(Operation::ReserveStop(request)).await?)?;
    let after = confirmed(member, |known| reasons(&known, node_id)).await?;
    if !after.is_empty() {
        let release = ReleaseStopRequest { operator_token, node_id };
        done(member.meta.propose(Operation::ReleaseStop(release)).await?)?;
        return Ok(CanStopResponse { allowed: false, reasons: after, held_for_ms: 0 });
    }
    Ok(CanStopResponse { allowed: true, reasons: Vec::new(), held_for_ms: STOP_HELD_MS })
}

pub(super) async fn release(member: &Member, request: ReleaseStopRequest) -> Result<ReleaseStopResponse, Status> {
    done(member.meta.propose(Operation::ReleaseStop(request)).await?)?;
    Ok(ReleaseStopResponse {})
}

fn reasons(known: &Known<'_>, node_id: u64) -> Result<Vec<String>, Status> {
    check::node(known.map, "node_id", node_id)?;
    Ok(guard::can_stop(known.map, known.view, NodeId(node_id), known.now))
}

fn other_hold(known: &Known<'_>, node_id: u64, unix_ms: u64) -> Option<String> {
    let (held, remaining_ms) = stop_hold(known.state, unix_ms).filter(|(held, _)| *held != node_id)?;
    let seconds = Duration::from_millis(remaining_ms).as_secs() + 1;
    Some(format!("node {held} is reserved to be stopped, for up to {seconds} s more; one node at a time"))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use granary_proto::storage::{MetaState, StopReservation};
    use tonic::Code;

    use super::*;
    use crate::meta::view::View;
    use granary_duties::testing::map;

    #[test]
    fn a_hold_on_another_node_is_a_reason_and_a_hold_on_this_one_is_not() {
        let state = MetaState { stop: Some(StopReservation { node_id: 2, until_ms: 9_500 }), ..MetaState::default() };
        let (map, view) = (map(3, &[]), View::default());
        let known = Known { state: &state, map: &map, view: &view, now: Instant::now() };
        assert!(other_hold(&known, 3, 5_000).unwrap().starts_with("node 2 is reserved to be stopped, for up to 5 s"));
        assert_eq!(other_hold(&known, 2, 5_000), None);
        assert_eq!(other_hold(&known, 3, 9_500), None, "it has ended");
    }

    #[test]
    fn to_stop_an_unknown_node_is_not_found() {
        let (state, map, view) = (MetaState::default(), map(3, &[]), View::default());
        let known = Known { state: &state, map: &map, view: &view, now: Instant::now() };
        assert_eq!(reasons(&known, 4).unwrap_err().code(), Code::NotFound);
    }
}
