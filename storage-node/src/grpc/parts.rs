//! Requests that span shards: taken apart here, proposed side by side, with an outcome for each part.

use std::{sync::Arc, time::Instant};

use futures::{StreamExt as _, stream};
use granary_common::ShardId;
use granary_machine::kv;
use granary_proto::{
    kv::{
        BatchRequest, BatchResponse, DeleteRangeRequest, DeleteRangeResponse, Error, Reason, Routing, ShardOutcome,
        pipe_request::Request, pipe_response::Response,
    },
    storage::Command,
};

use super::{errors, forward, route, write};
use crate::member::Member;

/// Shards of one request that are worked on at a time.
const PARTS_AT_ONCE: usize = 64;

/// Puts and deletes of any keys: atomic shard by shard.
pub(super) async fn batch(
    member: &Arc<Member>,
    request: BatchRequest,
    deadline: Instant,
) -> Result<BatchResponse, Error> {
    kv::validate_batch(&request)?;
    let map = member.map.current();
    // Refuses all while the shards of the map leave a slot out: they were not created yet.
    let route = |slot| route::of_slot(&map, slot).ok();
    let BatchRequest { writes, retry, routing } = request;
    let (split, unknown) = kv::split_writes(writes, route);
    if let Some(write) = unknown.first() {
        route::of_slot(&map, granary_common::slot_of(&write.key))?;
    }
    let mut parts = Vec::with_capacity(split.len());
    for (shard, writes) in split {
        let part = BatchRequest { writes, retry, routing: None };
        let again = forwards(routing).then(|| Request::Batch(part.clone()));
        parts.push(Part { shard, command: kv::batch_command(part)?, again });
    }
    Ok(BatchResponse { outcomes: outcomes(member, parts, deadline).await })
}

/// Deletes a range: within one tag, in one shard, or in every shard.
pub(super) async fn delete_range(
    member: &Arc<Member>,
    request: DeleteRangeRequest,
    deadline: Instant,
) -> Result<DeleteRangeResponse, Error> {
    kv::validate_delete_range(&request)?;
    let map = member.map.current();
    let shards = if !request.tag.is_empty() {
        vec![route::of_slot(&map, kv::tag_slot(&request.tag))?]
    } else if request.shard_id != 0 {
        vec![ShardId(route::named(&map, request.shard_id)?.id)]
    } else {
        route::data_shards(&map)?.into_iter().map(|shard| ShardId(shard.id)).collect()
    };
    let mut parts = Vec::with_capacity(shards.len());
    for shard in shards {
        let part = DeleteRangeRequest { shard_id: shard.0, routing: None, ..request.clone() };
        let again = forwards(request.routing).then(|| Request::DeleteRange(part.clone()));
        parts.push(Part { shard, command: kv::delete_range_command(part)?, again });
    }
    Ok(DeleteRangeResponse { outcomes: outcomes(member, parts, deadline).await })
}

fn forwards(routing: Option<Routing>) -> bool {
    routing.is_some_and(|routing| routing.forward)
}

struct Part {
    shard: ShardId,
    command: Command,
    /// To be sent to the leader when that is another node.
    again: Option<Request>,
}

/// The outcomes of all parts, in shard order.
async fn outcomes(member: &Arc<Member>, parts: Vec<Part>, deadline: Instant) -> Vec<ShardOutcome> {
    let parts = parts.into_iter().map(|part| outcome(member, part, deadline));
    let mut outcomes: Vec<_> = stream::iter(parts).buffered(PARTS_AT_ONCE).flat_map(stream::iter).collect().await;
    // A leader whose map is newer may have answered for other shards than it was asked for.
    outcomes.sort_by_key(|outcome| outcome.shard_id);
    outcomes
}

async fn outcome(member: &Arc<Member>, part: Part, deadline: Instant) -> Vec<ShardOutcome> {
    let Part { shard, command, again } = part;
    let answer = write::propose(member, shard, command, deadline).await;
    match (answer, again) {
        (Err(error), Some(again)) if error.reason() == Reason::NotLeader => {
            match forward::to_leader(member, again, error, deadline).await {
                Ok(Response::Batch(BatchResponse { outcomes }))
                | Ok(Response::DeleteRange(DeleteRangeResponse { outcomes })) => outcomes,
                Ok(_) => vec![kv::shard_outcome(shard, Err(errors::internal("a leader answered another question")))],
                Err(error) => vec![kv::shard_outcome(shard, Err(error))],
            }
        }
        (answer, _) => vec![kv::shard_outcome(shard, answer)],
    }
}
