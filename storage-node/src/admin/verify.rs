//! VerifyShard, MarkedHash, RebuildReplica: replicas compared at one applied index.

use std::sync::Arc;

use granary_common::{ReplicaId, ShardId};
use granary_proto::admin::{
    MarkedHashRequest, MarkedHashResponse, RebuildReplicaRequest, RebuildReplicaResponse, VerifyShardRequest,
    VerifyShardResponse,
};
use tonic::Status;

use crate::{drivers::Found, member::Member, scrub};

pub(super) fn verify_shard(member: &Arc<Member>, request: VerifyShardRequest) -> Result<VerifyShardResponse, Status> {
    let shard = ShardId(request.shard_id);
    let mark = match request.mark {
        0 => scrub::begin(member, shard)?,
        mark => mark,
    };
    member.scrub.round(shard, mark).ok_or_else(|| {
        Status::not_found(format!("mark {mark} is not that of the last comparison of {shard} on {}", member.id()))
    })
}

pub(super) fn marked_hash(member: &Member, request: MarkedHashRequest) -> Result<MarkedHashResponse, Status> {
    let shard = ShardId(request.shard_id);
    scrub::marked_hash(member, shard, request.mark).ok_or_else(|| {
        Status::not_found(format!("the replica of {shard} on {} has not come to mark {}", member.id(), request.mark))
    })
}

/// The leader's word alone throws nothing away: the own hash at the mark must be another one.
pub(super) fn rebuild_replica(
    member: &Member,
    request: RebuildReplicaRequest,
) -> Result<RebuildReplicaResponse, Status> {
    let (shard, replica) = (ShardId(request.shard_id), ReplicaId(request.replica_id));
    let refuse = |why: String| Err(Status::failed_precondition(format!("{shard} on {}: {why}", member.id())));
    let lives = member.store.published(shard).is_some_and(|state| state.replica == replica);
    match member.drivers.marks.get(shard, request.mark) {
        Some(marked) if lives && marked.replica == replica => match marked.found {
            Found::Hash(own) if own.hash != request.hash => {
                tracing::error!(
                    shard = shard.0,
                    replica = replica.0,
                    index = marked.index,
                    "the rows here contradict most replicas"
                );
                member.scrub.rebuild(member, shard, replica);
                Ok(RebuildReplicaResponse {})
            }
            Found::Hash(_) => refuse("its rows were those of the others".into()),
            Found::Reading(_) | Found::Unreadable(_) | Found::Missed(_) => refuse("it has no hash at the mark".into()),
        },
        _ => refuse(format!("replica {} is not known to have come to the mark", replica.0)),
    }
}
