//! The Peer service: says for a blank node that it is blank, and hands everything else to the member's parts.

use std::sync::{Arc, OnceLock};

use granary_proto::raft::{
    HelloRequest, HelloResponse, JoinClusterRequest, JoinClusterResponse, MessagesClosed, MessagesFrame,
    PushMapRequest, PushMapResponse, ReportRequest, ReportResponse, Sender, SnapshotFrame, SnapshotReply,
    peer_server::Peer,
};
use tonic::{Request, Response, Status, Streaming};

use super::Inbound;
use crate::{member::Member, node::Node};

/// Where the receiving half is put once the node is a member and its drivers run.
pub type InboundSlot = Arc<OnceLock<Arc<Inbound>>>;

/// Serves [`Peer`], from the start of the process on.
pub struct PeerService {
    node: Arc<Node>,
    inbound: InboundSlot,
}

impl PeerService {
    /// `inbound` is filled by whoever makes the node a member.
    pub fn new(node: Arc<Node>, inbound: InboundSlot) -> Self {
        Self { node, inbound }
    }

    fn inbound(&self) -> Result<&Arc<Inbound>, Status> {
        self.inbound.get().ok_or_else(|| Status::unavailable("this node is blank, or its store is still starting"))
    }

    fn member(&self) -> Result<&Arc<Member>, Status> {
        self.node.member().ok_or_else(|| Status::unavailable("this node is blank: it belongs to no cluster"))
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        let answer = match self.inbound.get() {
            Some(inbound) => inbound.hello(request.into_inner())?,
            None if self.node.member().is_some() => {
                return Err(Status::unavailable("this node's store is still starting"));
            }
            None => HelloResponse {
                sender: Some(Sender {
                    cluster_id: String::new(),
                    node_id: 0,
                    uuid: self.node.uuid.clone(),
                    incarnation: 0,
                    addresses: Some(self.node.options.addresses()),
                    process: 0,
                }),
                known: Vec::new(),
                map_version: 0,
            },
        };
        Ok(Response::new(answer))
    }

    async fn messages(&self, request: Request<Streaming<MessagesFrame>>) -> Result<Response<MessagesClosed>, Status> {
        self.inbound()?.messages(request.into_inner()).await.map(Response::new)
    }

    async fn snapshot(&self, request: Request<Streaming<SnapshotFrame>>) -> Result<Response<SnapshotReply>, Status> {
        self.inbound()?.snapshot(request.into_inner()).await.map(Response::new)
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        self.member()?.meta.report(request.into_inner()).await.map(Response::new)
    }

    async fn push_map(&self, request: Request<PushMapRequest>) -> Result<Response<PushMapResponse>, Status> {
        self.member()?.meta.push_map(request.into_inner()).await.map(Response::new)
    }

    async fn join_cluster(
        &self,
        request: Request<JoinClusterRequest>,
    ) -> Result<Response<JoinClusterResponse>, Status> {
        self.member()?.meta.join_cluster(request.into_inner()).await.map(Response::new)
    }
}
