//! A node that belongs to a cluster: everything that runs once the disk has an identity.

use std::{sync::Arc, time::Instant};

use granary_common::NodeId;
use granary_engine::{DataStore, RaftStore};
use granary_proto::{raft::Sender, storage::Identity};

use crate::{
    drivers::{Drivers, StoreHandle},
    map::MapHolder,
    meta::MetaLead,
    options::Options,
    scrub::Scrub,
    space::Space,
    transport::Peers,
};

/// The running parts, for the services. Made by `node`, shared by all.
pub struct Member {
    /// Which node of which cluster.
    pub identity: Identity,
    /// Of this start.
    pub incarnation: u64,
    /// As given at start.
    pub options: Arc<Options>,
    /// The store.
    pub store: StoreHandle,
    /// What runs the store.
    pub drivers: Arc<Drivers>,
    /// The cluster map.
    pub map: MapHolder,
    /// The other nodes.
    pub peers: Arc<Peers>,
    /// What the leader of the meta shard hears and answers.
    pub meta: Arc<MetaLead>,
    /// State machines.
    pub data: Arc<DataStore>,
    /// Logs.
    pub raft: Arc<RaftStore>,
    /// What is known of damage.
    pub scrub: Arc<Scrub>,
    /// Since when it runs.
    pub started: Instant,
    /// What room its disk has.
    pub space: Arc<Space>,
}

impl Member {
    /// Own id.
    pub fn id(&self) -> NodeId {
        NodeId(self.identity.node_id)
    }

    /// How this node introduces itself.
    pub fn sender(&self) -> Sender {
        self.peers.own().clone()
    }
}
