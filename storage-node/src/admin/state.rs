//! GetClusterState, and how every answer from the leader's knowledge is made sure.

use std::time::{Duration, Instant};

use granary_common::META_SHARD;
use granary_machine::meta;
use granary_proto::{
    admin::{GetClusterStateRequest, GetClusterStateResponse, StopHold},
    map::ClusterMap,
    storage::MetaState,
};
use tonic::Status;

use crate::{
    drivers::clock,
    member::Member,
    meta::view::{View, millis},
};

/// Longest wait for the group's confirmation that this node leads.
const LIMIT: Duration = Duration::from_secs(2);
/// Tries to answer within one lease.
const ATTEMPTS: usize = 5;

/// What an answer is made from: the applied state of the meta shard, the leader's view, and the time.
pub(super) struct Known<'a> {
    pub(super) state: &'a MetaState,
    pub(super) map: &'a ClusterMap,
    pub(super) view: &'a View,
    pub(super) now: Instant,
}

/// An answer from what the leader knows, given only when this node surely led while it was made: one that was deposed
/// without knowing answers nothing.
pub(super) async fn confirmed<T>(
    member: &Member,
    answer: impl Fn(Known<'_>) -> Result<T, Status>,
) -> Result<T, Status> {
    for _ in 0..ATTEMPTS {
        let pass = member.store.read(META_SHARD, LIMIT).await.map_err(|error| member.meta.store_error(&error))?;
        let state = load(member)?;
        let map = state.map.as_ref().ok_or_else(|| Status::internal("the meta shard holds no map"))?;
        let made = member.meta.with_view(|view, _, now| answer(Known { state: &state, map, view, now }))?;
        if pass.still_holds() {
            return Ok(made);
        }
    }
    Err(member.meta.not_leader())
}

fn load(member: &Member) -> Result<MetaState, Status> {
    match meta::load(&member.data.snapshot()) {
        Ok(Some(state)) => Ok(state),
        Ok(None) => Err(member.meta.not_leader()),
        Err(error) => Err(Status::internal(format!("the state of the meta shard cannot be read: {error}"))),
    }
}

pub(super) async fn cluster_state(
    member: &Member,
    _: GetClusterStateRequest,
) -> Result<GetClusterStateResponse, Status> {
    let leader = member.id().0;
    confirmed(member, |known| Ok(describe(leader, &known, clock::unix_ms()))).await
}

fn describe(leader: u64, known: &Known<'_>, unix_ms: u64) -> GetClusterStateResponse {
    let Known { state, map, view, now } = *known;
    let hold = meta::stop_hold(state, unix_ms);
    let operator = state.operator.clone().unwrap_or_default();
    GetClusterStateResponse {
        map: Some(map.clone()),
        nodes: view.node_liveness(map, now),
        shards: view.shard_liveness(map, now),
        meta_leader_node_id: leader,
        leading_for_ms: millis(view.leading_for(now)),
        stop_hold: hold.map(|(node_id, remaining_ms)| StopHold { node_id, remaining_ms }),
        operator_token: operator.token,
        operator_installation: operator.installation,
    }
}

#[cfg(test)]
mod tests {
    use granary_proto::storage::{OperatorHold, StopReservation};

    use super::*;
    use granary_duties::testing::{self as fixture, report};

    #[test]
    fn the_state_has_the_map_the_liveness_and_the_holds_in_force() {
        let (map, now) = (fixture::map(3, &[&[1, 2, 3]]), Instant::now());
        let mut view = View::default();
        view.tick(Some(1), now);
        view.record(report(2, 1, vec![]), now);
        let state = MetaState {
            operator: Some(OperatorHold { token: 4, installation: "i".into(), ..OperatorHold::default() }),
            stop: Some(StopReservation { node_id: 3, until_ms: 1500 }),
            ..MetaState::default()
        };
        let known = Known { state: &state, map: &map, view: &view, now };
        let answer = describe(1, &known, 1000);
        assert_eq!((answer.meta_leader_node_id, answer.operator_token), (1, 4));
        assert_eq!(answer.stop_hold, Some(StopHold { node_id: 3, remaining_ms: 500 }));
        assert_eq!((answer.nodes.len(), answer.shards.len()), (3, 1));
        assert_eq!(describe(1, &known, 1500).stop_hold, None, "a hold ends by itself");
    }
}
