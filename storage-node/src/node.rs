//! The node as a whole: blank until it is founded or joins, then a member for life. The one module that knows everyone.

mod become_member;
mod founding;
mod open;
mod reclaim;
mod run;
mod starting;
mod stop;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use granary_engine::{Disk, DiskError, Remade};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{
    drivers::RecoveryError, exit, grpc::ServeError, http::Readiness, member::Member, options::Options,
    telemetry::TelemetryError, transport::InboundSlot,
};

pub use run::run;

/// The store's loop turns once a tick and never waits for a disk: one that has not turned for so long is stuck.
const STORE_HANGS: Duration = Duration::from_secs(30);

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
    #[error(
        "granary-node {version} is too old for this disk: it can do feature level {own}, and the cluster is at feature \
         level {cluster}; start a newer version on it"
    )]
    FeatureLevel {
        /// Of this build.
        version: &'static str,
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
    /// It ended in order to be started again.
    #[error("a part of data/ is damaged: the next start makes it anew")]
    Damaged,
    /// Logging cannot begin.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
}

impl NodeError {
    /// What the process ends with; see [`crate::exit`].
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::FeatureLevel { .. } => exit::TOO_OLD,
            Self::Damaged => exit::START_AGAIN,
            Self::Disk(error) if error.is_of_newer_program() => exit::TOO_OLD,
            _ => exit::FAILED,
        }
    }
}

/// What the services hold: they serve a blank node too.
pub struct Node {
    /// As given at start.
    pub options: Arc<Options>,
    /// Random UUID of this disk.
    pub uuid: String,
    /// Runs what clients ask, and whatever is not the peers'.
    requests: Handle,
    /// Runs what nodes say to each other.
    peers: Handle,
    /// Who has caught up once since the start.
    pub readiness: Readiness,
    /// Cancelled when leaders are away and the node takes no more calls.
    pub stopping: CancellationToken,
    /// Cancelled when the process shall end in order to be started again.
    restart: CancellationToken,
    /// What became of `data/`, where this start made it anew.
    remade: Option<Remade>,
    /// Set at SIGTERM, before that.
    asked_to_stop: AtomicBool,
    /// Every replica that the map gives this node has run once since the start.
    was_complete: AtomicBool,
    /// The open directory; held while the node becomes a member, so that this happens once.
    disk: tokio::sync::Mutex<Disk>,
    inbound: InboundSlot,
    member: OnceLock<Arc<Member>>,
    /// What runs beside the member's services; ends with the node.
    tasks: parking_lot::Mutex<tokio::task::JoinSet<()>>,
}

impl Node {
    fn new(options: Arc<Options>, disk: Disk, peers: Handle) -> Arc<Self> {
        Arc::new(Self {
            options,
            uuid: disk.uuid().to_owned(),
            requests: Handle::current(),
            peers,
            readiness: Readiness::default(),
            stopping: CancellationToken::new(),
            restart: CancellationToken::new(),
            remade: disk.remade().cloned(),
            asked_to_stop: AtomicBool::new(false),
            was_complete: AtomicBool::new(false),
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

    /// Whether it has joined, and every voter it holds has caught up once since the start. Neither load nor a replica that
    /// is to be made here later takes that back.
    ///
    /// # Errors
    /// Why not.
    pub fn check_ready(&self) -> Result<(), String> {
        let replicas = self.member().map(|member| member.store.all_published());
        let stopping = self.asked_to_stop.load(Ordering::Relaxed);
        self.readiness.check(stopping, replicas.as_deref()).map_err(|why| why.to_string())?;
        if self.was_complete.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.member() {
            Some(member) if !member.drivers.is_complete() => Err("replicas are still being made here".into()),
            _ => {
                self.was_complete.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Whether the process can still work.
    ///
    /// # Errors
    /// What has ended.
    pub fn check_alive(&self) -> Result<(), String> {
        match self.member() {
            Some(member) if !member.drivers.is_alive() => Err("a thread of the store has ended".into()),
            Some(member) if member.store.stands_for() > STORE_HANGS => {
                Err(format!("the store has done nothing for {} s", STORE_HANGS.as_secs()))
            }
            // It ends by itself; here for one that cannot even do that.
            Some(member) => member.drivers.health.end().map_or(Ok(()), Err),
            None => Ok(()),
        }
    }
}
