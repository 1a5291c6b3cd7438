//! The nodes' admin API as the operator uses it: what it asks, what it orders, and what can go wrong.
//!
//! It knows no plan and no substrate. [`grpc`] speaks to real nodes; tests bring their own.

mod fence;
pub mod grpc;

use async_trait::async_trait;
use granary_proto::admin::{
    AcquireOperatorRequest, BootstrapRequest, BootstrapResponse, CreateShardsRequest, GetClusterStateResponse,
    IdentifyResponse, JoinRequest, JoinResponse, ReconfigureOutcome, ReconfigureRequest, TransferLeadersRequest,
};
use thiserror::Error;

pub use self::{fence::Fence, grpc::GrpcAdmin};

/// An order that any node passes on to the leader of the meta shard. Each carries the operator's token.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// All data shards and their first voters.
    CreateShards(CreateShardsRequest),
    /// New targets.
    Reconfigure(ReconfigureRequest),
    /// Leaders to other nodes.
    TransferLeaders(TransferLeadersRequest),
    /// Mark a node (its id) Draining.
    Drain(u64),
    /// Mark a node Active again.
    CancelDrain(u64),
    /// Reserve the stop of a node (its id): refused when a shard would lose its quorum.
    ReserveStop(u64),
    /// Give the reservation of a node's stop back.
    ReleaseStop(u64),
    /// Take a node off the map.
    RemoveNode(u64),
}

/// Why a call did not succeed.
#[derive(Clone, Debug, Error)]
pub enum AdminError {
    /// No answer: nothing is known of what became of it.
    #[error("{address} does not answer: {message}")]
    Unreachable {
        /// Whom it was sent to.
        address: String,
        /// Why.
        message: String,
    },
    /// An answer, and it is no.
    #[error("{address} refused: {message} ({code:?})")]
    Refused {
        /// Who answered.
        address: String,
        /// The gRPC status.
        code: tonic::Code,
        /// The node's own words.
        message: String,
    },
    /// Another process works on the cluster with a newer token. Final: this one must stop.
    #[error(
        "another process has taken this cluster over (its token {theirs} is newer than ours, {ours}; installation \
         {installation}): this one stops"
    )]
    TakenOver {
        /// The token that this process had.
        ours: u64,
        /// The token in force.
        theirs: u64,
        /// Whose it is.
        installation: String,
    },
    /// Another installation works on the cluster, or did within the last 30 s. Nothing may be ordered meanwhile.
    #[error("{message} (two installations of the operator look after this cluster)")]
    Conflict {
        /// Whose token is in force.
        installation: String,
        /// The node's own words.
        message: String,
    },
    /// There is no address to ask.
    #[error("no node can be asked: {0}")]
    Nobody(String),
}

/// Calls to nodes. Each one may be repeated.
#[async_trait]
pub trait NodeAdmin: Send + Sync {
    /// Who answers at this peer address.
    async fn identify(&self, address: &str) -> Result<IdentifyResponse, AdminError>;
    /// What the leader of the meta shard says, through the first of the peers that can reach it.
    async fn cluster_state(&self, peers: &[String]) -> Result<GetClusterStateResponse, AdminError>;
    /// A new token.
    async fn acquire(&self, peers: &[String], request: AcquireOperatorRequest) -> Result<u64, AdminError>;
    /// Founds, at this node.
    async fn bootstrap(&self, address: &str, request: BootstrapRequest) -> Result<BootstrapResponse, AdminError>;
    /// Makes the blank node at this address a member.
    async fn join(&self, address: &str, request: JoinRequest) -> Result<JoinResponse, AdminError>;
    /// Gives an order through any of the peers. The outcomes are those of Reconfigure, else empty.
    async fn order(&self, peers: &[String], token: u64, order: Order) -> Result<Vec<ReconfigureOutcome>, AdminError>;
}
