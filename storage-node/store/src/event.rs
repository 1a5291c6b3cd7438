//! What happens to a store.

use std::collections::BTreeSet;

use bytes::Bytes;
use granary_common::{
    NodeId, ReplicaId, ShardId, limits,
    log::{Entry, HardState, Position},
};
use granary_proto::{map, raft as wire};

/// Names a caller's question; chosen by the driver, answered once with [`crate::Answer`] or handed on with the entry.
pub type Ticket = u64;

/// One thing that happened.
#[derive(Debug)]
pub enum Event {
    /// One tick interval has passed. Late ticks are dropped by the driver, never made up. Those in which nothing is due need
    /// not be told one by one, see [`crate::Store::idle_ticks`].
    Tick,
    /// From another node.
    Message(wire::RaftMessage),
    /// Append `data` to the shard's log. The ticket comes back with the applied entry or with an answer.
    Propose {
        /// The shard.
        shard: ShardId,
        /// The caller.
        ticket: Ticket,
        /// An encoded command; not empty.
        data: Bytes,
    },
    /// Append a mark to the shard's log: an entry without data, which changes nothing, and at which replicas are compared.
    /// Answered as a proposal is.
    Mark {
        /// The shard.
        shard: ShardId,
        /// The caller.
        ticket: Ticket,
        /// Names the mark.
        mark: u64,
    },
    /// The state of the replica is not that of its group: it stops to act, and asks for its destruction and new start with
    /// `Actions::rebuilds`. One that leads, or hears no leader, or has no other voter, goes on as it is.
    Rebuild {
        /// The shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
    },
    /// Tell when a read of the shard at its applied index is linearizable (ReadIndex).
    Read {
        /// The shard.
        shard: ShardId,
        /// The caller.
        ticket: Ticket,
    },
    /// The persist batch of this number, and all before it, are on disk.
    Persisted {
        /// Of the batch.
        number: u64,
    },
    /// The replica has applied up to here.
    Applied {
        /// The shard.
        shard: ShardId,
        /// The replica; another one by now is ignored.
        replica: ReplicaId,
        /// Index of the last entry applied.
        index: u64,
    },
    /// Answer to a fetch.
    Fetched {
        /// The shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
        /// Of the fetch.
        id: u64,
        /// Consecutive entries from the asked index on; empty when they are gone.
        entries: Vec<Entry>,
    },
    /// A replica begins to live here: its record is synced.
    Start {
        /// The shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
        /// Where it stands.
        recovered: Box<Recovered>,
        /// How it came to be.
        founding: Founding,
    },
    /// The replica is destroyed here: forget it. Its tombstone is synced.
    Stop {
        /// The shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
    },
    /// What the cluster map says of a shard; only newer targets count.
    Target {
        /// The shard as the map has it.
        shard: map::Shard,
    },
    /// Hand leadership to the replica on this node, if it is a voter.
    TransferLeader {
        /// The shard.
        shard: ShardId,
        /// The node.
        to: NodeId,
    },
    /// Hand every leadership to the best other voter now; keep doing so while set. What a stopping or drained node does.
    LeadersAway {
        /// Begin or end.
        away: bool,
    },
    /// Nodes whose disks are too slow to lead on, as far as is known: leadership is handed to one only where it must leave
    /// (`LeadersAway`) and nobody else can take it. While this node is among them, it hands every leadership to the best
    /// other voter that is not, and campaigns later than others.
    SlowNodes {
        /// All of them.
        nodes: BTreeSet<NodeId>,
    },
    /// Somebody asks for the leader of the shard, or needs a fresher replica: its group rests no more.
    Wake {
        /// The shard.
        shard: ShardId,
    },
    /// The shard was read by the lease of its leader here: its group does not rest soon, so that there still is one for the
    /// next reader. One at rest goes on to rest.
    LeaseUsed {
        /// The shard.
        shard: ShardId,
    },
    /// All groups here rest no more.
    WakeAll,
    /// The last send to this node failed.
    Unreachable {
        /// The node.
        node: NodeId,
    },
    /// A snapshot asked for by `Actions::make_snapshots` is there.
    SnapshotMade {
        /// The shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
        /// `None`: making it failed; ask again.
        made: Option<SnapshotMade>,
    },
    /// A snapshot was taken over by the receiver, or not.
    SnapshotSent {
        /// The shard.
        shard: ShardId,
        /// The receiver.
        to: ReplicaId,
        /// Whether the receiver took it.
        accepted: bool,
    },
    /// An install asked for by `Actions::installs` is done and synced in both stores.
    Installed {
        /// The shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
        /// The group as the snapshot had it.
        group: map::Group,
    },
    /// This much of the shard's state would survive a power cut: the log below may go.
    Durable {
        /// The shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
        /// Applied index.
        index: u64,
    },
    /// Fill `Actions::report`.
    Report,
}

/// How a replica came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Founding {
    /// It lived here before: it may have promised its leader not to vote.
    Restarted,
    /// First voter of a new shard.
    Founder {
        /// Campaign at once.
        preferred: bool,
    },
    /// Empty, waits for its snapshot.
    Learner,
}

/// Where a replica stands when it starts. All zero and empty for a learner.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// As persisted; `commit` is raised to `applied` by the store.
    pub hard_state: HardState,
    /// Everything up to here is not in the log any more.
    pub truncated: Position,
    /// First position of each run of one term in the retained log, ascending, without `truncated`.
    pub terms: Vec<Position>,
    /// Last index of the log; `truncated.index` when it is empty.
    pub last_index: u64,
    /// Consecutive entries up to `last_index`: all above `applied`, and some below.
    pub entries: Vec<Entry>,
    /// Applied and found in the data store.
    pub applied: u64,
    /// Membership at `applied`.
    pub conf_state: wire::ConfState,
    /// Version, replicas and their nodes at `applied`.
    pub group: map::Group,
    /// The log is sound, but the state machine is lost: nothing is applied until a snapshot has come, and the log keeps
    /// what this replica has promised meanwhile.
    pub data_lost: bool,
}

impl Recovered {
    /// How a first voter of a new shard begins: as if from a snapshot at [`limits::FIRST_INDEX`], so that an empty
    /// learner can never match it and always gets a snapshot with the range and the first voters in it.
    pub fn founder(group: map::Group) -> Self {
        let position = Position { index: limits::FIRST_INDEX, term: limits::FIRST_TERM };
        let mut voters: Vec<u64> = group.replicas.iter().map(|replica| replica.id).collect();
        voters.sort_unstable();
        Self {
            hard_state: HardState { term: position.term, vote: 0, commit: position.index },
            truncated: position,
            last_index: position.index,
            applied: position.index,
            conf_state: wire::ConfState { voters, ..wire::ConfState::default() },
            group,
            ..Self::default()
        }
    }
}

/// A snapshot ready to be sent.
#[derive(Clone, Debug)]
pub struct SnapshotMade {
    /// Names its files.
    pub id: u64,
    /// Applied position inside.
    pub position: Position,
    /// Membership inside.
    pub conf_state: wire::ConfState,
}
