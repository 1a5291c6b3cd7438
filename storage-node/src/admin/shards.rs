//! CreateShards and Reconfigure: entries that write targets.

use granary_proto::{
    admin::{CreateShardsRequest, CreateShardsResponse, ReconfigureRequest, ReconfigureResponse},
    storage::{meta_answer::Kind, meta_command::Operation},
};
use tonic::Status;

use super::check;
use crate::{member::Member, meta::done};

pub(super) async fn create(member: &Member, request: CreateShardsRequest) -> Result<CreateShardsResponse, Status> {
    check::count("shards", request.shards.len())?;
    let map_version = done(member.meta.propose(Operation::CreateShards(request)).await?)?;
    Ok(CreateShardsResponse { map_version })
}

pub(super) async fn reconfigure(member: &Member, request: ReconfigureRequest) -> Result<ReconfigureResponse, Status> {
    check::count("items", request.items.len())?;
    match member.meta.propose(Operation::Reconfigure(request)).await?.kind {
        Some(Kind::Reconfigured(response)) => Ok(response),
        _ => Err(Status::internal("the meta shard answered with something else than asked")),
    }
}
