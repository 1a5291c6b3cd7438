//! What is served over gRPC, and the servers themselves: the data API on the kv port, Peer and Admin on the peer port.
//! Knows nothing of how the store, the log or other nodes work.

mod cluster_map;
mod errors;
mod execute;
mod forward;
mod in_flight;
mod kind;
mod kv;
mod parts;
mod pipe;
mod read;
mod route;
mod scan;
mod server;
mod write;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod pipe_tests;
#[cfg(test)]
mod wire_tests;

pub use execute::Execute;
pub use in_flight::PipeLimits;
pub use kind::Kind;
pub use kv::KvService;
pub use pipe::Answers;
pub use server::{ServeError, kv_router, peer_router, serve};
