//! The reservation of one node to be stopped.
//!
//! Whether every shard would keep a quorum needs to know who is alive: the leader checks it before it proposes. Here is
//! decided what must not depend on who leads: that only one node is reserved at a time.

use granary_proto::{
    admin::{ReleaseStopRequest, ReserveStopRequest},
    storage::{MetaState, StopReservation},
};

use super::change::{Outcome, node, refused, version};
use crate::errors::code;

/// How long a reservation holds, in ms.
pub const STOP_HELD_MS: u64 = 60_000;

/// The node whose stop is reserved at `now` (the meta shard leader's clock, Unix ms), and for how many ms more.
pub fn stop_hold(state: &MetaState, now: u64) -> Option<(u64, u64)> {
    state.stop.filter(|stop| now < stop.until_ms).map(|stop| (stop.node_id, stop.until_ms - now))
}

/// A hold that would last longer than any is given was made by a clock that was ahead, of another leader or of this one
/// before it was set: it lasts as long as a new one from here on, rather than for the difference. Whoever waits for it to
/// end would wait as long.
pub(super) fn bound(state: &mut MetaState, now: u64) {
    if let Some(stop) = &mut state.stop {
        stop.until_ms = stop.until_ms.min(now.saturating_add(STOP_HELD_MS));
    }
}

/// Reserves a node, or renews its reservation.
pub(super) fn reserve(state: &mut MetaState, request: &ReserveStopRequest, now: u64) -> Outcome {
    node(state, request.node_id)?;
    match stop_hold(state, now) {
        Some((held, remaining_ms)) if held != request.node_id => {
            let message = format!(
                "node {held} is reserved to be stopped, for {} s more; one node at a time: wait, or release it",
                remaining_ms.div_ceil(1000)
            );
            Err(refused(code::FAILED_PRECONDITION, message))
        }
        _ => {
            let until_ms = now.saturating_add(STOP_HELD_MS);
            state.stop = Some(StopReservation { node_id: request.node_id, until_ms });
            Ok(version(state))
        }
    }
}

/// Gives a reservation back. That of another node stays.
pub(super) fn release(state: &mut MetaState, request: &ReleaseStopRequest) -> u64 {
    state.stop = state.stop.filter(|stop| stop.node_id != request.node_id);
    version(state)
}
