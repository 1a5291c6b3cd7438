//! Writes of one shard: the command is made and checked, proposed, and its answer is turned into that of the wire.

use std::time::Instant;

use bytes::Bytes;
use granary_common::{ShardId, slot_of};
use granary_machine::kv;
use granary_proto::{
    kv::{
        CompareAndSetRequest, CompareAndSetResponse, DeleteRequest, DeleteResponse, Error, PutRequest, PutResponse,
        TxnRequest, TxnResponse, Write, compare_and_set_request, write::Change,
    },
    map::ReplicaRole,
    storage::{Answer, Command, command::Operation},
};
use granary_store::Role;
use prost::Message as _;

use super::{errors, route};
use crate::{
    drivers::{Applied, clock, remaining},
    member::Member,
    space,
};

/// Sets one key.
pub(super) async fn put(member: &Member, request: PutRequest, deadline: Instant) -> Result<PutResponse, Error> {
    let slot = slot_of(&request.key);
    let (shard, answer) = propose_to_slot(member, slot, kv::put_command(request)?, deadline).await?;
    kv::put_response(shard, answer)
}

/// Deletes one key.
pub(super) async fn delete(
    member: &Member,
    request: DeleteRequest,
    deadline: Instant,
) -> Result<DeleteResponse, Error> {
    let slot = slot_of(&request.key);
    let (shard, answer) = propose_to_slot(member, slot, kv::delete_command(request)?, deadline).await?;
    kv::delete_response(shard, answer)
}

/// Sets or deletes one key if it is as expected.
pub(super) async fn compare_and_set(
    member: &Member,
    request: CompareAndSetRequest,
    deadline: Instant,
) -> Result<CompareAndSetResponse, Error> {
    // A request without a key is refused when its command is made.
    let slot = slot_of(request.expected.as_ref().map_or(&[], |guard| &guard.key));
    let (shard, answer) = propose_to_slot(member, slot, kv::compare_and_set_command(request)?, deadline).await?;
    kv::compare_and_set_response(shard, answer)
}

/// Guards and writes of one slot.
pub(super) async fn txn(member: &Member, request: TxnRequest, deadline: Instant) -> Result<TxnResponse, Error> {
    // That there is a key, and that all are of one slot, is checked when the command is made.
    let guarded = request.guards.first().map(|guard| &guard.key);
    let slot = slot_of(guarded.or_else(|| request.writes.first().map(|write| &write.key)).map_or(&[], |key| key));
    let (shard, answer) = propose_to_slot(member, slot, kv::txn_command(request)?, deadline).await?;
    kv::txn_response(shard, answer)
}

async fn propose_to_slot(
    member: &Member,
    slot: u16,
    command: Command,
    deadline: Instant,
) -> Result<(ShardId, Answer), Error> {
    let shard = route::of_slot(&member.map.current(), slot)?;
    propose(member, shard, command, deadline).await.map(|answer| (shard, answer))
}

/// Proposes `command` and waits for what it did.
pub(super) async fn propose(
    member: &Member,
    shard: ShardId,
    mut command: Command,
    deadline: Instant,
) -> Result<Answer, Error> {
    check_space(member, shard, &command)?;
    let left = remaining(deadline);
    if left.is_zero() {
        return Err(errors::timeout(shard));
    }
    command.leader_time_ms = clock::unix_ms();
    match member.store.propose(shard, Bytes::from(command.encode_to_vec()), left).await {
        Ok(Applied::Data(answer)) => Ok(answer),
        Ok(Applied::Meta(_)) => Err(errors::internal("a data shard answered as the meta shard")),
        Err(error) => Err(route::refusal(member, shard, error)),
    }
}

/// Refuses what the disk here, or those of a majority of the shard's voters, have no room for. Whoever does not lead says
/// so instead: the leader's disk may have room.
fn check_space(member: &Member, shard: ShardId, command: &Command) -> Result<(), Error> {
    let here = member.space.is_read_only();
    let Some(full) = member.meta.read_only_nodes().or(here.then(Default::default)) else { return Ok(()) };
    let Some(state) = member.store.published(shard).filter(|state| state.role == Role::Leader) else { return Ok(()) };
    if !needs_space(command) {
        return Ok(());
    }
    if here {
        return Err(errors::read_only());
    }
    let voters = state.group.replicas.iter().filter(|replica| replica.role() == ReplicaRole::Voter);
    if space::blocks_quorum(voters.map(|replica| replica.node_id), &full) {
        return Err(errors::quorum_read_only(shard, &full));
    }
    Ok(())
}

/// Whether the command can add to what is stored.
fn needs_space(command: &Command) -> bool {
    let puts = |writes: &[Write]| writes.iter().any(|write| matches!(write.change, Some(Change::Value(_))));
    match &command.operation {
        Some(Operation::Write(write)) => puts(std::slice::from_ref(write)),
        Some(Operation::CompareAndSet(request)) => {
            matches!(request.change, Some(compare_and_set_request::Change::Value(_)))
        }
        Some(Operation::Batch(batch)) => puts(&batch.writes),
        Some(Operation::Txn(txn)) => puts(&txn.writes),
        Some(Operation::DeleteRange(_)) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use granary_proto::kv::{DeleteRangeRequest, Guard, guard::Condition};

    use super::*;

    #[test]
    fn only_commands_that_put_need_space() {
        let put = PutRequest { key: "k".into(), value: "v".into(), ..Default::default() };
        assert!(needs_space(&kv::put_command(put).unwrap()));
        let delete = DeleteRequest { key: "k".into(), ..Default::default() };
        assert!(!needs_space(&kv::delete_command(delete).unwrap()));
        let range = DeleteRangeRequest { tag: "t".into(), ..Default::default() };
        assert!(!needs_space(&kv::delete_range_command(range).unwrap()));

        let guard = Guard { key: "k".into(), condition: Some(Condition::Present(true)) };
        let change =
            |change| CompareAndSetRequest { expected: Some(guard.clone()), change: Some(change), ..Default::default() };
        let set = change(compare_and_set_request::Change::Value("v".into()));
        assert!(needs_space(&kv::compare_and_set_command(set).unwrap()));
        let unset = change(compare_and_set_request::Change::Delete(true));
        assert!(!needs_space(&kv::compare_and_set_command(unset).unwrap()));

        let write = |change| Write { key: "k".into(), change: Some(change) };
        let txn = |writes| TxnRequest { writes, ..Default::default() };
        let mixed = vec![write(Change::Delete(true)), write(Change::Value("v".into()))];
        assert!(needs_space(&kv::txn_command(txn(mixed)).unwrap()));
        assert!(!needs_space(&kv::txn_command(txn(vec![write(Change::Delete(true))])).unwrap()));
    }
}
