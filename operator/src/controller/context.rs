//! What all clusters of one process share.

use std::sync::Arc;

use kube::Client;
use tokio::sync::{Semaphore, mpsc};

use super::http::Pages;
use crate::{
    node_admin::AdminError,
    substrate::kubernetes::{Caches, Installation},
};

/// Most rounds at the same time: clusters beyond wait for their turn.
pub const ROUNDS: usize = 32;

/// Shared by the loops of all clusters.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What is watched.
    pub caches: Arc<Caches>,
    /// Who this operator is.
    pub installation: Installation,
    /// Name of the operator's pod.
    pub pod: String,
    /// Metrics.
    pub pages: Arc<Pages>,
    /// Turns for rounds, [`ROUNDS`] of them.
    pub turns: Semaphore,
    /// Why the process must end. Room for one: the first is enough.
    pub end: mpsc::Sender<AdminError>,
}
