//! Where things are in the cluster directory.
//!
//! ```text
//! DIR/cluster.json     what must outlive the loop: ids, founding, ports        (record)
//! DIR/wishes.json      what a person asked of nodes                            (wishes)
//! DIR/status.json      what the loop last saw                                  (status_file)
//! DIR/operator.lock    held by the loop that works here                        (lock)
//! DIR/nodes/node-N/    data of a node          DIR/nodes/node-N.pid            (process)
//! DIR/logs/node-N.log  what it printed         DIR/removed/    directories of nodes that left
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::files::doing;
use crate::substrate::SubstrateError;

/// The paths of one cluster directory, all absolute.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
}

/// Name of the place with this index.
pub fn name(index: u32) -> String {
    format!("node-{index}")
}

impl Layout {
    /// Of a directory that is there.
    ///
    /// # Errors
    /// It is not there.
    pub fn of(dir: &Path) -> Result<Self, SubstrateError> {
        let dir = dir.canonicalize().map_err(doing(format!("cannot open the cluster directory {}", dir.display())))?;
        Ok(Self { dir })
    }

    /// Of a directory that is made when it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(dir: &Path) -> Result<Self, SubstrateError> {
        for part in [dir.join("nodes"), dir.join("logs")] {
            fs::create_dir_all(&part).map_err(doing(format!("cannot make {}", part.display())))?;
        }
        Self::of(dir)
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// What must outlive the loop.
    pub fn record(&self) -> PathBuf {
        self.dir.join("cluster.json")
    }
    /// What a person asked of nodes.
    pub fn wishes(&self) -> PathBuf {
        self.dir.join("wishes.json")
    }
    /// What the loop last saw.
    pub fn status(&self) -> PathBuf {
        self.dir.join("status.json")
    }
    /// Held by the loop.
    pub fn lock(&self) -> PathBuf {
        self.dir.join("operator.lock")
    }
    /// Data of a node.
    pub fn data(&self, index: u32) -> PathBuf {
        self.dir.join("nodes").join(name(index))
    }
    /// Which process is the node's.
    pub fn pid(&self, index: u32) -> PathBuf {
        self.dir.join("nodes").join(format!("{}.pid", name(index)))
    }
    /// What a node printed.
    pub fn log(&self, index: u32) -> PathBuf {
        self.dir.join("logs").join(format!("{}.log", name(index)))
    }
    /// What a detached loop printed.
    pub fn operator_log(&self) -> PathBuf {
        self.dir.join("logs").join("operator.log")
    }
    /// Directories of nodes that left.
    pub fn removed(&self) -> PathBuf {
        self.dir.join("removed")
    }
    /// Whether the place's disk may hold a node. Doubt counts as yes.
    pub fn holds_identity(&self, index: u32) -> bool {
        self.data(index).join("identity").try_exists().unwrap_or(true)
    }
}
