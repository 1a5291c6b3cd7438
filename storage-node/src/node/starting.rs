//! What the node is doing before it can serve, for the probes: they are answered from the first moment, and a node that
//! waits or reads a long log is alive.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;

use super::Node;

/// Where a start stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Opens the data directory.
    #[default]
    Opens,
    /// Another process has the directory.
    WaitsForLock {
        /// What the other one wrote there.
        holder: String,
    },
    /// The disk has no room for RocksDB to recover.
    WaitsForRoom {
        /// Free bytes.
        free: u64,
        /// Free bytes that are waited for.
        wanted: u64,
    },
    /// Reads its logs.
    Recovers,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opens => f.write_str("starting: the data directory is being opened"),
            Self::WaitsForLock { holder } => {
                write!(f, "starting: waits for another process ({holder}) to leave the data directory")
            }
            Self::WaitsForRoom { free, wanted } => {
                write!(f, "starting: the disk is full: {free} bytes are free, {wanted} are needed; give it more room")
            }
            Self::Recovers => f.write_str("starting: the logs are being read"),
        }
    }
}

/// Shared by the start and the probes.
#[derive(Default)]
pub(super) struct Starting {
    stage: Mutex<Stage>,
    node: OnceLock<Arc<Node>>,
}

impl Starting {
    /// Where the start stands now; says so in the log when that is another kind of waiting than before.
    pub(super) fn at(&self, stage: Stage) {
        let before = std::mem::replace(&mut *self.stage.lock(), stage.clone());
        let waits = matches!(stage, Stage::WaitsForLock { .. } | Stage::WaitsForRoom { .. });
        if waits && std::mem::discriminant(&before) != std::mem::discriminant(&stage) {
            tracing::warn!("{stage}");
        }
    }

    /// From now on the node speaks for itself.
    pub(super) fn done(&self, node: Arc<Node>) {
        // A process starts once.
        let _ = self.node.set(node);
    }

    /// The node, once it has started.
    pub(super) fn node(&self) -> Option<&Arc<Node>> {
        self.node.get()
    }

    pub(super) fn check_ready(&self) -> Result<(), String> {
        self.node().map_or_else(|| Err(self.stage.lock().to_string()), |node| node.check_ready())
    }

    /// A start that waits is alive: another process would wait as well.
    pub(super) fn check_alive(&self) -> Result<(), String> {
        self.node().map_or(Ok(()), |node| node.check_alive())
    }
}
