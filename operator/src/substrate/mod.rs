//! What runs nodes. A substrate knows places, disks and processes, and keeps a few facts for the cluster; it knows
//! neither shards nor the planner's reasons.

pub mod kubernetes;
pub mod local;

use async_trait::async_trait;
use granary_planner::observed::Place;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a substrate tells in one round.
#[derive(Clone, Debug)]
pub struct Look {
    /// The cluster's id, once it was minted.
    pub cluster_id: Option<String>,
    /// Whether the cluster was founded once.
    pub founded: bool,
    /// The content of Bootstrap, once it was kept.
    pub founding: Option<Founding>,
    /// All places, in order of index, without those that are being retired. `disk` holds only what can be told without
    /// asking the node.
    pub places: Vec<Place>,
    /// Ids of nodes that a person wants drained.
    pub draining: Vec<u64>,
    /// Indexes that were given up and whose disks are kept: no new place takes one of them.
    pub taken: Vec<u32>,
    /// Names of disks that were given up and are kept, with the command that removes them.
    pub kept: Option<Kept>,
    /// How large disks are.
    pub storage: Storage,
    /// What a person should know, such as why a process does not stay up.
    pub notes: Vec<String>,
    /// What is wrong with the substrate's own objects and needs a person.
    pub problems: Vec<Problem>,
}

/// Disks of nodes that left, kept until a person removes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// How many.
    pub count: u32,
    /// What removes them, with their data.
    pub command: String,
}

/// How large the disks of a cluster are, as far as they have a size of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// The smallest disk in use, such as 10Gi.
    pub smallest: Option<String>,
    /// How many are large enough, and one that is not; `None`: all are, or it is not known.
    pub behind: Option<String>,
}

/// Something that a person has to put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// One word, in CamelCase, from the substrate's closed set; the reason of the condition Degraded.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// What a substrate may need to know of the cluster to look after what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Care {
    /// Every shard has all its voters, alive and caught up, where they shall be, by fresh word.
    pub whole: bool,
    /// By fresh word: id of the member at each place (index), for those that are members.
    pub members: Vec<(u32, u64)>,
    /// How many nodes must stay up when somebody else wants to stop one; `None`: unknown, leave what is there.
    pub budget: Option<Budget>,
}

/// How many nodes may be stopped by others, such as a person who empties a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// One copy only: nothing is gained by holding a stop up.
    Unguarded,
    /// This many nodes must be up.
    AtLeast(u32),
}

/// The content of Bootstrap, kept before the first one is sent so that each founder gets the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    /// In order of node id, from 1.
    pub founders: Vec<Founder>,
    /// Copies of each shard.
    pub replication_factor: u32,
    /// Data shards.
    pub shards: u32,
    /// Feature level to begin with.
    pub feature_level: u32,
}

/// One founder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founder {
    /// Index of its place.
    pub index: u32,
    /// What its blank disk calls itself.
    pub uuid: String,
    /// Name of its place.
    pub name: String,
    /// Kv address (host:port).
    pub kv_address: String,
    /// Peer address (host:port).
    pub peer_address: String,
    /// Zone; empty: unknown.
    pub zone: String,
    /// Machine; empty: unknown.
    pub machine: String,
}

/// What became of [`Substrate::start_node`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// A process was started.
    Started,
    /// One runs already.
    Running,
    /// Not now; says why. Ask again in a later round.
    Later(String),
}

/// Why a substrate could not do what it was asked.
#[derive(Debug, Error)]
pub enum SubstrateError {
    /// A file or a process.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A kept file does not hold what it should.
    #[error("{0}")]
    Damaged(String),
    /// The API server did not do it, or nobody knows whether it did.
    #[error("{doing}: {message}")]
    Api {
        /// What was being done.
        doing: String,
        /// Why it failed.
        message: String,
    },
    /// The API server says that the operator may not.
    #[error("{doing}: {message}; give the operator that right (see its chart's roles)")]
    Forbidden {
        /// What was being done.
        doing: String,
        /// The API server's own words.
        message: String,
    },
    /// The API server says that it cannot be so.
    #[error("{doing}: {message}")]
    Refused {
        /// What was being done.
        doing: String,
        /// The API server's own words.
        message: String,
    },
    /// Somebody else works on the same cluster.
    #[error("{0}")]
    Taken(String),
    /// There is no such place, or it cannot be used so.
    #[error("{0}")]
    Place(String),
}

/// Runs nodes. Each call may be repeated at any time, also after a crash in the middle of it, and then completes.
#[async_trait]
pub trait Substrate: Send + Sync {
    /// Stable id of this installation, for the nodes' fencing tokens.
    fn installation(&self) -> String;
    /// What of the spec has not become a fact yet that [`Substrate::look`] would tell: until then nothing is as desired,
    /// even with nothing to do. Asked before it.
    fn unsettled(&self) -> Option<String> {
        None
    }
    /// What is there.
    async fn look(&self) -> Result<Look, SubstrateError>;
    /// Keeps a new random cluster id, unless there is one.
    async fn mint_cluster_id(&self) -> Result<(), SubstrateError>;
    /// Keeps the content of Bootstrap and gives back what is kept: the first one ever given, unless `replace`, which is
    /// only right while no founder has accepted.
    async fn keep_founding(&self, founding: Founding, replace: bool) -> Result<Founding, SubstrateError>;
    /// Keeps that the cluster was founded.
    async fn note_founded(&self) -> Result<(), SubstrateError>;
    /// Makes the place if it is not there and starts its process if none runs.
    async fn start_node(&self, index: u32) -> Result<Start, SubstrateError>;
    /// Sends the process at the place away and starts it anew as the spec now asks, on the same disk. Only after the
    /// nodes allowed it, or when none of its code runs.
    async fn restart(&self, index: u32) -> Result<(), SubstrateError>;
    /// The same for a process that was seen on its way up: does nothing when it has come up since, as what runs goes by
    /// the nodes' leave only.
    async fn restart_starting(&self, index: u32) -> Result<(), SubstrateError> {
        self.restart(index).await
    }
    /// Looks after all that is not a step of a plan: what every cluster has beside its places, sizes, budgets, what was
    /// left half done. Called once a round, not while paused. Returns what a person should know.
    async fn upkeep(&self, _care: &Care) -> Result<Vec<Problem>, SubstrateError> {
        Ok(Vec::new())
    }
    /// Gives the place up for good: its intent is kept at once, its process stops soon, its disk is kept or deleted.
    async fn retire(&self, index: u32) -> Result<(), SubstrateError>;
}
