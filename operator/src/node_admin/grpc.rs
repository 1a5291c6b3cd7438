//! [`NodeAdmin`] over gRPC: a connection for each address, bounded times, any reachable node.

use std::{collections::HashMap, future::Future, time::Duration};

use async_trait::async_trait;
use granary_common::limits::MAX_MESSAGE;
use granary_proto::admin::{
    AcquireOperatorRequest, BootstrapRequest, BootstrapResponse, CancelDrainRequest, DrainRequest,
    GetClusterStateRequest, GetClusterStateResponse, IdentifyRequest, IdentifyResponse, JoinRequest, JoinResponse,
    ReconfigureOutcome, ReleaseStopRequest, RemoveNodeRequest, ReserveStopRequest, admin_client::AdminClient,
};
use parking_lot::Mutex;
use tokio::time::timeout;
use tonic::{
    Code, Response, Status,
    transport::{Channel, Endpoint},
};

use super::{AdminError, NodeAdmin, Order};

const CONNECT: Duration = Duration::from_millis(500);
const CALL: Duration = Duration::from_secs(2);
/// Most connections kept: more than the nodes a cluster may have.
const MAX_CONNECTIONS: usize = 256;

/// Speaks to real nodes.
#[derive(Debug, Default)]
pub struct GrpcAdmin {
    /// By address; a channel connects when it is first used, and again after a failure.
    channels: Mutex<HashMap<String, Channel>>,
}

impl GrpcAdmin {
    fn client(&self, address: &str) -> Result<AdminClient<Channel>, AdminError> {
        let mut channels = self.channels.lock();
        let channel = match channels.get(address) {
            Some(channel) => channel.clone(),
            None => {
                let endpoint = Endpoint::from_shared(format!("http://{address}"))
                    .map_err(|error| AdminError::Nobody(format!("{address} is not HOST:PORT: {error}")))?;
                let channel = endpoint.connect_timeout(CONNECT).timeout(CALL).tcp_nodelay(true).connect_lazy();
                if channels.len() >= MAX_CONNECTIONS {
                    channels.clear();
                }
                channels.insert(address.to_owned(), channel.clone());
                channel
            }
        };
        Ok(AdminClient::new(channel).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
    }

    /// One call to one node.
    async fn at<T, F>(&self, address: &str, call: impl FnOnce(AdminClient<Channel>) -> F) -> Result<T, AdminError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let client = self.client(address)?;
        match timeout(CALL, call(client)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(error(address, &status)),
            Err(_) => {
                let message = format!("no answer within {} s", CALL.as_secs());
                Err(AdminError::Unreachable { address: address.to_owned(), message })
            }
        }
    }

    /// One call to the first of the nodes that answers. A refusal is an answer.
    async fn any<T, F>(&self, peers: &[String], call: impl Fn(AdminClient<Channel>) -> F) -> Result<T, AdminError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut last = AdminError::Nobody("no node runs".into());
        for address in peers {
            match self.at(address, &call).await {
                Err(error @ (AdminError::Unreachable { .. } | AdminError::Nobody(_))) => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }
}

fn error(address: &str, status: &Status) -> AdminError {
    let (address, message) = (address.to_owned(), status.message().to_owned());
    match status.code() {
        // What another node may be able to answer: this one is away, or does not reach the leader.
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Unimplemented => {
            AdminError::Unreachable { address, message }
        }
        code => AdminError::Refused { address, code, message },
    }
}

#[async_trait]
impl NodeAdmin for GrpcAdmin {
    async fn identify(&self, address: &str) -> Result<IdentifyResponse, AdminError> {
        self.at(address, |mut client| async move { client.identify(IdentifyRequest {}).await }).await
    }

    async fn cluster_state(&self, peers: &[String]) -> Result<GetClusterStateResponse, AdminError> {
        let call =
            |mut client: AdminClient<Channel>| async move { client.get_cluster_state(GetClusterStateRequest {}).await };
        self.any(peers, call).await
    }

    async fn acquire(&self, peers: &[String], request: AcquireOperatorRequest) -> Result<u64, AdminError> {
        let call = |mut client: AdminClient<Channel>| {
            let request = request.clone();
            async move { client.acquire_operator(request).await }
        };
        Ok(self.any(peers, call).await?.token)
    }

    async fn bootstrap(&self, address: &str, request: BootstrapRequest) -> Result<BootstrapResponse, AdminError> {
        self.at(address, |mut client| async move { client.bootstrap(request).await }).await
    }

    async fn join(&self, address: &str, request: JoinRequest) -> Result<JoinResponse, AdminError> {
        self.at(address, |mut client| async move { client.join(request).await }).await
    }

    async fn order(&self, peers: &[String], token: u64, order: Order) -> Result<Vec<ReconfigureOutcome>, AdminError> {
        let call = |mut client: AdminClient<Channel>| {
            let order = order.clone();
            async move { give(&mut client, token, order).await.map(Response::new) }
        };
        self.any(peers, call).await
    }
}

async fn give(client: &mut AdminClient<Channel>, token: u64, order: Order) -> Result<Vec<ReconfigureOutcome>, Status> {
    match order {
        Order::CreateShards(mut request) => {
            request.operator_token = token;
            client.create_shards(request).await.map(drop)?;
        }
        Order::Reconfigure(mut request) => {
            request.operator_token = token;
            return Ok(client.reconfigure(request).await?.into_inner().outcomes);
        }
        Order::TransferLeaders(mut request) => {
            request.operator_token = token;
            client.transfer_leaders(request).await.map(drop)?;
        }
        Order::Drain(node_id) => client.drain(DrainRequest { operator_token: token, node_id }).await.map(drop)?,
        Order::CancelDrain(node_id) => {
            client.cancel_drain(CancelDrainRequest { operator_token: token, node_id }).await.map(drop)?;
        }
        Order::ReserveStop(node_id) => {
            let answer = client.reserve_stop(ReserveStopRequest { operator_token: token, node_id }).await?.into_inner();
            if !answer.allowed {
                return Err(Status::failed_precondition(answer.reasons.join("; ")));
            }
        }
        Order::ReleaseStop(node_id) => {
            client.release_stop(ReleaseStopRequest { operator_token: token, node_id }).await.map(drop)?;
        }
        Order::RemoveNode(node_id) => {
            client.remove_node(RemoveNodeRequest { operator_token: token, node_id }).await.map(drop)?;
        }
    }
    Ok(Vec::new())
}
