//! The machine of the meta shard: what a command does to the cluster map and to the two holds beside it.
//!
//! It decides what *shall* be; what a group *is* it only writes down when told. It cannot see
//! who is alive: checks that need it (would every shard keep a quorum?) are made by the leader before it proposes.
//! Time is the leader's clock in the entry; the clocks of two leaders may differ, so holds may last longer or shorter by
//! that difference. A stop is held no longer than it may be from the next entry on.

mod change;
mod founding;
mod nodes;
mod operator;
mod placement;
mod reconfigure;
mod reports;
mod shards;
mod stop;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod node_tests;
#[cfg(test)]
mod operator_tests;
#[cfg(test)]
mod shard_tests;

use granary_common::META_SHARD;
use granary_proto::storage::{MetaAnswer, MetaCommand, MetaState, Refused, meta_answer::Kind, meta_command::Operation};

pub use founding::founded;
pub use nodes::{MAX_LEASE_MS, needed_by};
pub use operator::OPERATOR_ACTIVE_MS;
pub use stop::{STOP_HELD_MS, stop_hold};

use crate::{
    errors::ApplyError,
    overlay::Overlay,
    rows::{self, Kind as RowKind},
    view::View,
};

/// Applies the command of the entry at `index` to `state`. The caller has asked [`crate::shard::advance`] whether it is
/// next, and writes `state` ([`save`]) with the batch.
///
/// Each change of the map raises its version by one; what changes nothing does not. A refused command changes nothing but
/// the time at which the operator in force was last active, and how long a stop may still be held. An error stops the node.
pub fn apply(state: &mut MetaState, command: &MetaCommand, index: u64) -> Result<MetaAnswer, ApplyError> {
    let unknown = || ApplyError::UnknownOperation { shard: META_SHARD, index, what: "operation" };
    let operation = command.operation.as_ref().ok_or_else(unknown)?;
    stop::bound(state, command.leader_time_ms);
    let checked = match token_of(operation) {
        Some(token) => operator::check(state, token, command.leader_time_ms),
        None => Ok(()),
    };
    let kind = checked.and_then(|()| execute(state, operation, command.leader_time_ms)).unwrap_or_else(Kind::Refused);
    Ok(MetaAnswer { kind: Some(kind) })
}

/// The operator's token of a mutation; `None` for what needs none.
fn token_of(operation: &Operation) -> Option<u64> {
    match operation {
        Operation::AcquireOperator(_) | Operation::Reports(_) => None,
        Operation::Join(request) => Some(request.operator_token),
        Operation::CreateShards(request) => Some(request.operator_token),
        Operation::ReserveStop(request) => Some(request.operator_token),
        Operation::ReleaseStop(request) => Some(request.operator_token),
        Operation::Drain(request) => Some(request.operator_token),
        Operation::CancelDrain(request) => Some(request.operator_token),
        Operation::Reconfigure(request) => Some(request.operator_token),
        Operation::LeadersAway(request) => Some(request.operator_token),
        Operation::RemoveNode(request) => Some(request.operator_token),
    }
}

fn execute(state: &mut MetaState, operation: &Operation, now: u64) -> Result<Kind, Refused> {
    let done = match operation {
        Operation::AcquireOperator(request) => operator::acquire(state, request, now)?,
        Operation::Join(request) => nodes::join(state, request)?,
        Operation::CreateShards(request) => shards::create(state, request, now)?,
        Operation::ReserveStop(request) => stop::reserve(state, request, now)?,
        Operation::ReleaseStop(request) => stop::release(state, request),
        Operation::Drain(request) => nodes::drain(state, request)?,
        Operation::CancelDrain(request) => nodes::cancel_drain(state, request)?,
        Operation::Reconfigure(request) => return reconfigure::apply(state, request, now).map(Kind::Reconfigured),
        Operation::LeadersAway(request) => nodes::leaders_away(state, request, now)?,
        Operation::RemoveNode(request) => nodes::remove(state, request)?,
        Operation::Reports(reports) => reports::apply(state, reports),
    };
    Ok(Kind::Done(done))
}

/// The stored state of the meta shard, if the node has it.
pub fn load(view: &(impl View + ?Sized)) -> Result<Option<MetaState>, ApplyError> {
    let row = view.get(&rows::meta_key())?;
    Ok(row.map(|row| rows::decode_message(RowKind::Meta, row)).transpose()?)
}

/// Writes the state of the meta shard: once a batch, behind its entries.
pub fn save<V: View + ?Sized>(overlay: &mut Overlay<'_, V>, state: &MetaState) {
    overlay.put(rows::meta_key(), prost::Message::encode_to_vec(state).into());
}
