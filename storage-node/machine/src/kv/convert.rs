//! Requests of the wire as commands for the log. The only way to make a command, so that none is made of a request that
//! was not validated: an entry that cannot be applied would stop every node.
//!
//! `leader_time_ms` is left 0: the leader sets it when it proposes.

use std::collections::BTreeMap;

use granary_common::{ShardId, slot_of};
use granary_proto::{
    kv::{
        BatchRequest, CompareAndSetRequest, DeleteRangeRequest, DeleteRequest, PutRequest, Retry, TxnRequest, Write,
        write::Change,
    },
    storage::{Command, DeleteRangeBody, TxnBody, WriteList, command::Operation},
};

use super::{
    refusal::Invalid,
    validate::{
        validate_batch, validate_compare_and_set, validate_delete, validate_delete_range, validate_put, validate_txn,
    },
};

/// The command of a put.
pub fn put_command(request: PutRequest) -> Result<Command, Invalid> {
    validate_put(&request)?;
    let write = Write { key: request.key, change: Some(Change::Value(request.value)) };
    Ok(command(request.retry, Operation::Write(write)))
}

/// The command of a delete.
pub fn delete_command(request: DeleteRequest) -> Result<Command, Invalid> {
    validate_delete(&request)?;
    let write = Write { key: request.key, change: Some(Change::Delete(true)) };
    Ok(command(request.retry, Operation::Write(write)))
}

/// The command of a compare-and-set.
pub fn compare_and_set_command(mut request: CompareAndSetRequest) -> Result<Command, Invalid> {
    validate_compare_and_set(&request)?;
    let retry = request.retry.take();
    request.routing = None;
    Ok(command(retry, Operation::CompareAndSet(request)))
}

/// The command of a transaction.
pub fn txn_command(request: TxnRequest) -> Result<Command, Invalid> {
    validate_txn(&request)?;
    let body = TxnBody { guards: request.guards, writes: request.writes };
    Ok(command(request.retry, Operation::Txn(body)))
}

/// The command that deletes a range, for one shard: the tag's, or each in turn.
pub fn delete_range_command(request: DeleteRangeRequest) -> Result<Command, Invalid> {
    validate_delete_range(&request)?;
    let body = DeleteRangeBody { start: request.start, end: request.end, tag: request.tag };
    Ok(command(request.retry, Operation::DeleteRange(body)))
}

/// The command of the part of a batch that is one shard's. A batch that spans shards is validated as a whole first
/// ([`validate_batch`]), then taken apart by [`split_writes`]; each part carries the same `retry`, for each shard has
/// its own table of answers.
pub fn batch_command(part: BatchRequest) -> Result<Command, Invalid> {
    validate_batch(&part)?;
    Ok(command(part.retry, Operation::Batch(WriteList { writes: part.writes })))
}

/// Writes by shard, in their order within each. `route` tells the shard of a slot; the writes of slots that it does not
/// know come second.
pub fn split_writes(
    writes: Vec<Write>,
    route: impl Fn(u16) -> Option<ShardId>,
) -> (BTreeMap<ShardId, Vec<Write>>, Vec<Write>) {
    let mut parts: BTreeMap<ShardId, Vec<Write>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for write in writes {
        match route(slot_of(&write.key)) {
            Some(shard) => parts.entry(shard).or_default().push(write),
            None => unknown.push(write),
        }
    }
    (parts, unknown)
}

fn command(retry: Option<Retry>, operation: Operation) -> Command {
    Command { leader_time_ms: 0, retry, operation: Some(operation) }
}
