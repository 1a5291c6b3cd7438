//! The node as a whole: blank until it is founded or joins, then a member for life. The one module that knows everyone.

mod become_member;
mod founding;
mod run;
mod stop;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use granary_engine::{Disk, DiskError};
use tokio_util::sync::CancellationToken;

use crate::{
    drivers::RecoveryError, grpc::ServeError, http::Readiness, member::Member, options::Options,
    telemetry::TelemetryError, transport::InboundSlot,
};

pub use run::run;

/// A disk that is busy with one write for longer than this hangs.
const DISK_HANGS: Duration = Duration::from_secs(40);

/// Why a node cannot run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The stores cannot be used.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// A port is taken, or the address is not this machine's.
    #[error("--{flag} {address}: cannot listen there: {source}; choose another port, or stop who has it")]
    Listen {
        /// Flag without its dashes.
        flag: &'static str,
        /// As given.
        address: std::net::SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The cluster does what this build does not know: an older program on a newer disk.
    #[error("the cluster is at feature level {cluster}, this build can do {own}; start a newer version on this disk")]
    FeatureLevel {
        /// Of the cluster, by the copy of its map here.
        cluster: u32,
        /// The highest that this build can do.
        own: u32,
    },
    /// A server ended.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The metrics server, or waiting for signals, failed.
    #[error("{what} failed: {source}")]
    Io {
        /// What.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// Logging cannot begin.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
}

/// What the services hold: they serve a blank node too.
pub struct Node {
    /// As given at start.
    pub options: Arc<Options>,
    /// Random UUID of this disk.
    pub uuid: String,
    /// Who has caught up once since the start.
    pub readiness: Readiness,
    /// Cancelled when the node begins to stop.
    pub stopping: CancellationToken,
    /// The open directory; held while the node becomes a member, so that this happens once.
    disk: tokio::sync::Mutex<Disk>,
    inbound: InboundSlot,
    member: OnceLock<Arc<Member>>,
    /// What runs beside the member's services; ends with the node.
    tasks: parking_lot::Mutex<tokio::task::JoinSet<()>>,
}

impl Node {
    fn new(options: Arc<Options>, disk: Disk) -> Arc<Self> {
        Arc::new(Self {
            options,
            uuid: disk.uuid().to_owned(),
            readiness: Readiness::default(),
            stopping: CancellationToken::new(),
            disk: tokio::sync::Mutex::new(disk),
            inbound: InboundSlot::default(),
            member: OnceLock::new(),
            tasks: parking_lot::Mutex::default(),
        })
    }

    /// The member, once the node is one.
    pub fn member(&self) -> Option<&Arc<Member>> {
        self.member.get()
    }

    /// Whether it has joined, and every voter it holds has caught up once since the start.
    ///
    /// # Errors
    /// Why not.
    pub fn check_ready(&self) -> Result<(), String> {
        let replicas = self.member().map(|member| member.store.all_published());
        self.readiness.check(self.stopping.is_cancelled(), replicas.as_deref()).map_err(|why| why.to_string())?;
        match self.member() {
            Some(member) if !member.drivers.is_complete() => Err("replicas are still being made here".into()),
            _ => Ok(()),
        }
    }

    /// Whether the process can still work.
    ///
    /// # Errors
    /// What has ended.
    pub fn check_alive(&self) -> Result<(), String> {
        match self.member() {
            Some(member) if !member.drivers.is_alive() => Err("a thread of the store has ended".into()),
            Some(member) if member.drivers.log.writing_for() > DISK_HANGS => {
                Err(format!("the disk has not taken a write for {} s", DISK_HANGS.as_secs()))
            }
            _ => Ok(()),
        }
    }
}
