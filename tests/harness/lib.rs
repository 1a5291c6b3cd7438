//! What tests and demo share: the real programs started on directories and ports of their own, and a writer that
//! remembers every acknowledgement.
//!
//! It knows the programs from the outside only: their arguments, their output, gRPC. Nothing here looks into a node.

pub mod balance;
pub mod cli;
pub mod cluster;
pub mod http;
pub mod local;
pub mod node;
pub mod pipe;
pub mod ports;
pub mod programs;
mod replicas;
pub mod resources;
pub mod scratch;
pub mod wait;
pub mod writer;

/// Why something of the harness did not work; the text says what was tried.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HarnessError(pub String);

impl HarnessError {
    /// Puts what was tried in front of a cause.
    pub fn because(what: impl std::fmt::Display, cause: impl std::fmt::Display) -> Self {
        Self(format!("{what}: {cause}"))
    }
}

/// What most of the harness gives.
pub type Result<T> = std::result::Result<T, HarnessError>;
