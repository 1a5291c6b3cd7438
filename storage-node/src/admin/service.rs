//! Which call is answered where.

use std::sync::Arc;

use granary_proto::admin::{admin_server::Admin, *};
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};

use super::{
    found, hash, identify, join, leaders, leave, operator,
    route::{self, Route},
    shards, state, stop, verify,
};
use crate::node::Node;

/// Serves [`Admin`], from the start of the process on: a blank node too.
pub struct AdminService {
    node: Arc<Node>,
    /// Bootstrap and Join, one at a time: a node becomes a member once.
    becoming: Mutex<()>,
}

impl AdminService {
    /// For the node of this process.
    pub fn new(node: Arc<Node>) -> Self {
        Self { node, becoming: Mutex::new(()) }
    }
}

type Answer<T> = Result<Response<T>, Status>;

/// Answers the call here when this node leads the meta shard, else passes it on to the node that does.
macro_rules! at_leader {
    ($service:expr, $request:expr, $call:ident, $answer:expr) => {
        match route::route(&$service.node, &$request)? {
            Route::Here(member) => $answer(&**member, $request.into_inner()).await.map(Response::new),
            Route::There(mut client) => client.$call(route::forwarded($request.into_inner())).await,
        }
    };
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn identify(&self, _: Request<IdentifyRequest>) -> Answer<IdentifyResponse> {
        Ok(Response::new(identify::identify(&self.node)))
    }

    async fn bootstrap(&self, request: Request<BootstrapRequest>) -> Answer<BootstrapResponse> {
        let _one = self.becoming.lock().await;
        found::bootstrap(&self.node, request.into_inner()).await.map(Response::new)
    }

    async fn join(&self, request: Request<JoinRequest>) -> Answer<JoinResponse> {
        let _one = self.becoming.lock().await;
        join::join(&self.node, request.into_inner()).await.map(Response::new)
    }

    async fn get_cluster_state(&self, request: Request<GetClusterStateRequest>) -> Answer<GetClusterStateResponse> {
        at_leader!(self, request, get_cluster_state, state::cluster_state)
    }

    async fn acquire_operator(&self, request: Request<AcquireOperatorRequest>) -> Answer<AcquireOperatorResponse> {
        at_leader!(self, request, acquire_operator, operator::acquire)
    }

    async fn create_shards(&self, request: Request<CreateShardsRequest>) -> Answer<CreateShardsResponse> {
        at_leader!(self, request, create_shards, shards::create)
    }

    async fn can_stop(&self, request: Request<CanStopRequest>) -> Answer<CanStopResponse> {
        at_leader!(self, request, can_stop, stop::can_stop)
    }

    async fn reserve_stop(&self, request: Request<ReserveStopRequest>) -> Answer<CanStopResponse> {
        at_leader!(self, request, reserve_stop, stop::reserve)
    }

    async fn release_stop(&self, request: Request<ReleaseStopRequest>) -> Answer<ReleaseStopResponse> {
        at_leader!(self, request, release_stop, stop::release)
    }

    async fn can_remove(&self, request: Request<CanRemoveRequest>) -> Answer<CanRemoveResponse> {
        at_leader!(self, request, can_remove, leave::can_remove)
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Answer<DrainResponse> {
        at_leader!(self, request, drain, leave::drain)
    }

    async fn cancel_drain(&self, request: Request<CancelDrainRequest>) -> Answer<CancelDrainResponse> {
        at_leader!(self, request, cancel_drain, leave::cancel_drain)
    }

    async fn get_drain_progress(&self, request: Request<GetDrainProgressRequest>) -> Answer<GetDrainProgressResponse> {
        at_leader!(self, request, get_drain_progress, leave::drain_progress)
    }

    async fn reconfigure(&self, request: Request<ReconfigureRequest>) -> Answer<ReconfigureResponse> {
        at_leader!(self, request, reconfigure, shards::reconfigure)
    }

    async fn transfer_leaders(&self, request: Request<TransferLeadersRequest>) -> Answer<TransferLeadersResponse> {
        if route::is_carried(&request) {
            let started = leaders::hand_over(route::member(&self.node)?, &request.into_inner().transfers);
            return Ok(Response::new(TransferLeadersResponse { started }));
        }
        at_leader!(self, request, transfer_leaders, leaders::transfer)
    }

    async fn remove_node(&self, request: Request<RemoveNodeRequest>) -> Answer<RemoveNodeResponse> {
        at_leader!(self, request, remove_node, leave::remove)
    }

    async fn replica_hash(&self, request: Request<ReplicaHashRequest>) -> Answer<ReplicaHashResponse> {
        hash::replica_hash(route::member(&self.node)?, request.into_inner()).await.map(Response::new)
    }

    async fn verify_shard(&self, request: Request<VerifyShardRequest>) -> Answer<VerifyShardResponse> {
        verify::verify_shard(route::member(&self.node)?, request.into_inner()).map(Response::new)
    }

    async fn marked_hash(&self, request: Request<MarkedHashRequest>) -> Answer<MarkedHashResponse> {
        verify::marked_hash(route::member(&self.node)?, request.into_inner()).map(Response::new)
    }

    async fn rebuild_replica(&self, request: Request<RebuildReplicaRequest>) -> Answer<RebuildReplicaResponse> {
        verify::rebuild_replica(route::member(&self.node)?, request.into_inner()).map(Response::new)
    }
}
