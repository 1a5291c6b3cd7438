//! ReplicaHash: what this node's replica of a shard holds, as one number.

use std::sync::Arc;

use granary_common::ShardId;
use granary_proto::admin::{ReplicaHashRequest, ReplicaHashResponse};
use tonic::Status;

use crate::member::Member;

pub(super) async fn replica_hash(
    member: &Arc<Member>,
    request: ReplicaHashRequest,
) -> Result<ReplicaHashResponse, Status> {
    let shard = ShardId(request.shard_id);
    let none = || Status::not_found(format!("shard_id {} has no replica with state on {}", shard.0, member.id()));
    let replica = member.store.published(shard).ok_or_else(none)?.replica;
    let data = member.data.clone();
    let hash = tokio::task::spawn_blocking(move || data.replica_hash(shard))
        .await
        .map_err(|_| Status::unavailable("the node is stopping"))?
        .map_err(|error| Status::internal(format!("the replica cannot be read: {error}")))?
        .ok_or_else(none)?;
    Ok(ReplicaHashResponse {
        applied_index: hash.applied_index,
        hash: hash.hash,
        rows: hash.rows,
        bytes: hash.bytes,
        replica_id: replica.0,
    })
}
