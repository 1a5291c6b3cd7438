//! A process of a node: the store and what stands around it. It does what the real drivers do, in the same order, with the
//! same pure code; only threads, files and sockets are simulated.

mod admin;
mod applier;
mod data;
mod lifecycle;
mod log;
mod meta;
mod raft;
mod service;
mod start;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

use futures::channel::oneshot;
use granary_common::{NodeId, ReplicaId, ShardId};
use granary_duties::{
    admission::Standing,
    lease::Lease,
    states::{Applied, States},
    view::View,
};
use granary_machine::Write;
use granary_proto::{
    map::ClusterMap,
    raft::{MapLeader, Sender},
    storage::{Identity, ReplicaRecord, ShardState},
};
use granary_store::{Published, Role, Store, Ticket};

pub use self::{
    admin::{AdminCall, AdminReply, LeaderCall},
    data::{KvReply, KvRequest},
    service::{Call, Failed, Reply, Status, call},
};
use crate::{
    disk::Op,
    world::{Bell, Deed, World},
};

/// Why a question to the store was not answered as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Not done here; the leader where known.
    NotLeader(Option<NodeId>),
    /// Not done: no replica here.
    NoReplica,
    /// Not done: too much is in flight.
    Busy,
    /// It may or may not be done.
    Unknown,
    /// A read ran out of time.
    Timeout,
}

/// What a caller of the store hears.
pub type StoreReply = Result<Option<Applied>, StoreError>;

/// A write of the log that waits.
pub struct LogJob {
    ops: Vec<Op>,
    sync: bool,
    /// Batch of the store that is complete with it.
    number: Option<u64>,
    done: Option<Deed>,
}

/// A snapshot: the state, the rows, and what names it.
#[derive(Clone)]
pub struct Snapshot {
    state: ShardState,
    rows: Rc<Vec<Write>>,
    hash: u64,
}

/// What the applier is asked, in order.
pub enum ApplierJob {
    /// Entries.
    Apply(granary_store::Apply),
    /// A received snapshot.
    Install(Box<(granary_store::Install, Snapshot)>),
    /// New replicas with their first state, and the meta shard's.
    Create(Box<lifecycle::Create>),
    /// What is left of an old replica goes.
    Empty(ShardId, Deed),
}

/// A process.
pub struct Process {
    /// Which process of this place.
    pub epoch: u64,
    /// When it started.
    pub started_at: u64,
    /// Bootstrap or Join is under way: one at a time.
    pub becoming: bool,
    /// Once it belongs to a cluster.
    pub member: Option<Member>,
}

/// What a member has.
pub struct Member {
    /// Which node of which cluster.
    pub identity: Identity,
    /// How it introduces itself.
    pub sender: Sender,
    /// The store.
    pub store: Store,
    /// What the store published.
    pub board: BTreeMap<ShardId, Published>,
    /// What was applied.
    pub states: States,
    /// The newest map.
    pub map: Rc<ClusterMap>,
    /// Replicas that lived here when it started.
    pub restarted: BTreeSet<u64>,
    /// It is stopping, or its map says that leaders shall be elsewhere.
    pub leaving: bool,
    /// What the meta shard's leader heard.
    pub view: View,
    told_leader: Option<NodeId>,
    told_leaders: Vec<MapLeader>,
    records: BTreeMap<ShardId, ReplicaRecord>,
    busy: BTreeSet<ShardId>,
    lifecycle_map: Rc<ClusterMap>,
    standings: BTreeMap<NodeId, Standing>,
    waiters: BTreeMap<Ticket, oneshot::Sender<StoreReply>>,
    next_ticket: Ticket,
    log: VecDeque<LogJob>,
    writing: bool,
    /// When the write under way began.
    writing_since: u64,
    applier: VecDeque<ApplierJob>,
    applying: bool,
    offered: BTreeMap<u64, Snapshot>,
    inbox: BTreeMap<u64, Snapshot>,
    next_snapshot: u64,
    undecided: Vec<(ShardId, u64)>,
    turning: bool,
    next_tick_ns: u64,
    maps: Bell,
    /// The map is being followed: one at a time.
    following: Bell,
    changes: Bell,
    heard: Bell,
    reports: Vec<oneshot::Sender<ReportParts>>,
}

/// Groups led here, and replicas held here.
pub type ReportParts = (Vec<granary_proto::raft::LedShard>, Vec<granary_proto::raft::HeldReplica>);

impl Member {
    /// Own id.
    pub fn id(&self) -> NodeId {
        NodeId(self.identity.node_id)
    }

    /// The lease that is published for a shard.
    pub fn lease(&self, shard: ShardId) -> Option<Lease> {
        let state = self.board.get(&shard).filter(|state| state.role == Role::Leader)?;
        Some(Lease { term: state.term, until_ns: state.lease_until_ns })
    }

    /// Whether it leads the shard, as far as it knows.
    pub fn leads(&self, shard: ShardId) -> Option<u64> {
        self.board.get(&shard).filter(|state| state.role == Role::Leader).map(|state| state.term)
    }

    /// Where a replica of it stands.
    pub fn applied(&self, shard: ShardId) -> Option<(ReplicaId, u64)> {
        self.states.get(shard).map(|replica| (replica.id, replica.state.applied_index))
    }

    fn answer(&mut self, ticket: Ticket, reply: StoreReply) {
        if let Some(waiter) = self.waiters.remove(&ticket) {
            // A caller that went away needs no answer.
            let _ = waiter.send(reply);
        }
    }
}

impl World {
    /// The member at a place, while its process runs.
    pub fn member(&self, place: usize) -> Option<&Member> {
        self.process(place)?.member.as_ref()
    }

    /// The same, to change it.
    pub fn member_mut(&mut self, place: usize) -> Option<&mut Member> {
        self.process_mut(place)?.member.as_mut()
    }

    /// How long the write of the log under way has taken.
    pub fn stalled_for(&self, place: usize) -> u64 {
        self.member(place).filter(|member| member.writing).map_or(0, |member| self.now - member.writing_since)
    }

    /// (place, epoch) of the process there.
    fn here(&self, place: usize) -> (usize, u64) {
        (place, self.process(place).map_or(0, |process| process.epoch))
    }

    /// The place whose disk is this node's, now.
    pub fn place_of(&self, node: NodeId) -> Option<usize> {
        let is = |identity: &Identity| identity.node_id == node.0;
        self.places
            .iter()
            .find(|place| place.exists && place.disk.identity.as_ref().is_some_and(is))
            .map(|place| place.index)
    }
}
