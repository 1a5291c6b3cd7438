//! What to do next, as data.

use serde::{Deserialize, Serialize};

/// The steps that may be taken now, in order, and why nothing more is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// To be applied in this order; the first that fails ends the round.
    pub steps: Vec<PlannedStep>,
    /// What the plan waits for, with numbers.
    pub waiting: Vec<Waiting>,
    /// What is wrong and needs a person, if anything.
    pub degraded: Vec<Degraded>,
}

impl Plan {
    /// Nothing to do, nothing awaited, nothing wrong: the cluster is as desired.
    pub fn is_settled(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_empty() && self.degraded.is_empty()
    }

    /// Adds a step.
    pub(crate) fn step(&mut self, step: Step, reason: String) {
        let reversible = step.is_reversible();
        self.steps.push(PlannedStep { step, reason, reversible });
    }

    /// Adds something the plan waits for.
    pub(crate) fn wait(&mut self, reason: WaitingReason, message: String) {
        self.waiting.push(Waiting { reason, message });
    }

    /// Adds something that a person has to decide.
    pub(crate) fn degrade(&mut self, reason: DegradedReason, message: String) {
        self.degraded.push(Degraded { reason, message });
    }
}

/// A step with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// What to do.
    pub step: Step,
    /// Why, in words with numbers.
    pub reason: String,
    /// Whether it can be taken back.
    pub reversible: bool,
}

/// One action of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Note a new random cluster id in the substrate, before the first node exists.
    MintClusterId,
    /// Make the place (disk and process) if it is not there, and start its process if it does not run.
    StartNode {
        /// Index of the place.
        index: u32,
    },
    /// Send Bootstrap with the same content to each founder: places whose nodes are blank, or already founded.
    Found {
        /// Indexes of the places of the founders, in order; node ids 1, 2, 3 … in this order.
        founders: Vec<u32>,
    },
    /// Note in the substrate that the cluster was founded.
    NoteFounded,
    /// Tell the blank node there to join.
    Join {
        /// Index of the place.
        index: u32,
    },
    /// Create all data shards with these first voters; the first of each is the preferred leader.
    CreateShards {
        /// (shard id, nodes), in order of shard id.
        placements: Vec<(u32, Vec<u64>)>,
    },
    /// Write new targets.
    Reconfigure {
        /// The shards that move.
        moves: Vec<Move>,
    },
    /// Move leaders of named shards.
    TransferLeaders {
        /// (shard id, node).
        transfers: Vec<(u32, u64)>,
    },
    /// Mark the node Draining.
    Drain {
        /// Node id.
        node: u64,
    },
    /// Mark it Active again.
    CancelDrain {
        /// Node id.
        node: u64,
    },
    /// Take a node that holds nothing off the map (the nodes check CanRemove again).
    RemoveNode {
        /// Node id.
        node: u64,
    },
    /// Reserve the stop of a node, so that no other stops meanwhile (the nodes check CanStop again).
    ReserveStop {
        /// Node id.
        node: u64,
    },
    /// Move every leader off a node, and keep them away for a while.
    LeadersAway {
        /// Node id.
        node: u64,
    },
    /// Give the reservation of a node's stop back, and let leaders come to it again.
    ReleaseStop {
        /// Node id.
        node: u64,
    },
    /// Send the process at a place away; it comes back as the spec now asks, on the same disk.
    RestartPlace {
        /// Index of the place.
        index: u32,
    },
    /// Stop the process at a place whose node was removed, and give its disk up as the substrate's policy says.
    RetirePlace {
        /// Index of the place.
        index: u32,
    },
}

impl Step {
    /// Whether another step can take it back. What is minted, founded, created or given up stays so.
    pub fn is_reversible(&self) -> bool {
        match self {
            Self::MintClusterId
            | Self::Found { .. }
            | Self::NoteFounded
            | Self::CreateShards { .. }
            | Self::RestartPlace { .. }
            | Self::RemoveNode { .. }
            | Self::RetirePlace { .. } => false,
            Self::StartNode { .. }
            | Self::Join { .. }
            | Self::ReserveStop { .. }
            | Self::LeadersAway { .. }
            | Self::ReleaseStop { .. }
            | Self::Reconfigure { .. }
            | Self::TransferLeaders { .. }
            | Self::Drain { .. }
            | Self::CancelDrain { .. } => true,
        }
    }

    /// Whether it takes a node or a disk away: at most one such step a plan.
    pub fn is_disruptive(&self) -> bool {
        matches!(self, Self::RemoveNode { .. } | Self::RetirePlace { .. } | Self::RestartPlace { .. })
    }
}

/// New target of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Shard id.
    pub shard: u32,
    /// Nodes where its voters shall be; the first is the preferred leader.
    pub nodes: Vec<u64>,
    /// Version of the group as it was observed.
    pub expected_version: u64,
    /// Bytes to copy (its size times the nodes that are new).
    pub bytes: u64,
}

/// Why nothing (more) is done now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// One word for metrics and status, from a closed set.
    pub reason: WaitingReason,
    /// For what, with numbers ("shard 17 would keep 1 of 3 voters").
    pub message: String,
}

/// The closed set of reasons to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WaitingReason {
    /// `paused` is set.
    Paused,
    /// Something could not be asked.
    Unknown,
    /// Nodes do not run or do not answer yet.
    NodesStarting,
    /// Shards without a leader.
    NoLeader,
    /// Replicas are being moved.
    Moving,
    /// Leaders are being moved.
    Electing,
    /// A node gives up its replicas.
    Draining,
    /// A silent node is not lost yet.
    NodeSilent,
    /// Processes are being started anew, one by one.
    Restarting,
    /// Stopping or removing would leave a shard without a quorum.
    Quorum,
}

/// What a person has to decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// One word, from a closed set.
    pub reason: DegradedReason,
    /// What is wrong and what to do.
    pub message: String,
}

/// The closed set of reasons for Degraded; of several the first of this order is the one to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DegradedReason {
    /// A shard has lost its quorum for good.
    QuorumLost,
    /// More than a third of the nodes are lost.
    ManyNodesLost,
    /// The cluster was founded, and every disk is gone.
    DataLost,
    /// A disk belongs to another cluster.
    ForeignDisk,
    /// The spec changed what is fixed at creation.
    SpecConflict,
    /// A node that was started anew does not come back: no other is started anew until it does.
    RestartStuck,
    /// A node is not heard, hung or cut off.
    NodeSilent,
    /// A node refuses writes, as its disk is nearly full.
    DiskFull,
    /// Data of a node is damaged, or differs from the other replicas'.
    DataDamaged,
    /// The disk of a node is slow, or something in the node does not go on.
    NodeStalled,
}
