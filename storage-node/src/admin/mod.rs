//! The Admin service: what the operator asks of this node and of the cluster.
//!
//! A call about the cluster is answered by the leader of the meta shard; any other node passes it on, one hop. Safety is
//! checked here, by the nodes: with what the leader hears ([`crate::meta::guard`]), then once more by the entry itself.
//! It must not know gRPC servers, connections or disks.

mod check;
mod found;
mod hash;
mod identify;
mod join;
mod leaders;
mod leave;
mod operator;
mod route;
mod service;
mod shards;
mod state;
mod stop;
mod verify;

pub use service::AdminService;
