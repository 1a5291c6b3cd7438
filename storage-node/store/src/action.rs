//! What a store wants done.

use granary_common::{
    NodeId, ReplicaId, ShardId,
    log::{Entry, HardState, Position},
};
use granary_proto::{map, raft as wire};

use crate::{event::Ticket, standstill::Stands};

/// Everything to be done after a drain. The driver begins with `publish`, so that a lease that ends is seen before the
/// message that ends it leaves; the rest has no order among each other.
#[derive(Debug, Default)]
pub struct Actions {
    /// Who leads and until when, for each shard where that changed.
    pub publish: Vec<Published>,
    /// Messages that may leave at once.
    pub sends: Vec<Send>,
    /// To be written before the messages it holds back may leave.
    pub persist: Option<Persist>,
    /// To be applied, in order.
    pub applies: Vec<Apply>,
    /// Log entries to be read for slow followers.
    pub fetches: Vec<Fetch>,
    /// Answers to proposals that are not applied here, and to reads.
    pub answers: Vec<(Ticket, Answer)>,
    /// Snapshots to be made of these replicas.
    pub make_snapshots: Vec<(ShardId, ReplicaId)>,
    /// Snapshots to be sent; answered by `Event::SnapshotSent`.
    pub send_snapshots: Vec<SendSnapshot>,
    /// Snapshots no longer offered; files of sends under way may be kept until they end.
    pub drop_snapshots: Vec<u64>,
    /// Received snapshots to be installed; answered by `Event::Installed`.
    pub installs: Vec<Install>,
    /// Replicas that their group says are out: sync the tombstone, then destroy, then `Event::Stop`.
    pub destroys: Vec<(ShardId, ReplicaId)>,
    /// Replicas whose state is to be thrown away while their log stays: `Event::Stop`, then empty the state behind all that
    /// was to be applied, then `Event::Start` with `Recovered::data_lost`.
    pub rebuilds: Vec<(ShardId, ReplicaId)>,
    /// The log of a replica here has lost what was synced: its node must not go on. The first that was seen.
    pub lost_log: Option<LostLog>,
    /// Something waits for entries to be applied: `Event::Applied` must come at once. Else it may come with the next tick.
    pub awaits_applied: bool,
    /// Filled after `Event::Report`: groups led here.
    pub led: Vec<wire::LedShard>,
    /// Filled after `Event::Report`: all replicas here.
    pub held: Vec<wire::HeldReplica>,
}

/// A leader counts on entries that a replica here has acknowledged, and the replica's log does not reach so far. The vote may
/// be forgotten as well (HAZARDS H1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostLog {
    /// The shard.
    pub shard: ShardId,
    /// The replica.
    pub replica: ReplicaId,
    /// Last entry of its log.
    pub last: u64,
    /// An entry that it has acknowledged.
    pub acknowledged: u64,
}

/// Which stream between two nodes a message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Heartbeats and their answers: never behind data.
    Heartbeats,
    /// Everything else, in order.
    Appends,
}

/// A message for another node.
#[derive(Clone, Debug)]
pub struct Send {
    /// The node.
    pub to: NodeId,
    /// The stream.
    pub lane: Lane,
    /// The message.
    pub message: wire::RaftMessage,
}

/// One batch for the log writer.
#[derive(Clone, Debug)]
pub struct Persist {
    /// From 1 up; completed in order by `Event::Persisted`.
    pub number: u64,
    /// Whether it must be synced.
    pub must_sync: bool,
    /// A group may appear more than once: in order.
    pub items: Vec<PersistItem>,
}

/// What one group wants written.
#[derive(Clone, Debug)]
pub struct PersistItem {
    /// The shard.
    pub shard: ShardId,
    /// The replica.
    pub replica: ReplicaId,
    /// New vote, term or commit.
    pub hard_state: Option<HardState>,
    /// New entries.
    pub append: Option<Append>,
    /// Purge everything up to here.
    pub truncate: Option<Position>,
}

/// New entries of one log.
#[derive(Clone, Debug)]
pub struct Append {
    /// Consecutive, not empty.
    pub entries: Vec<Entry>,
    /// Last index of the log before: entries from the first new one up to it that are not overwritten must go.
    pub previous_last: u64,
}

/// Committed entries of one shard.
#[derive(Clone, Debug)]
pub struct Apply {
    /// The shard.
    pub shard: ShardId,
    /// The replica.
    pub replica: ReplicaId,
    /// Consecutive.
    pub entries: Vec<ApplyEntry>,
}

/// One committed entry.
#[derive(Clone, Debug)]
pub struct ApplyEntry {
    /// The entry.
    pub entry: Entry,
    /// Who proposed its commands here and waits, in their order; empty: nobody.
    pub tickets: Vec<Ticket>,
    /// What it makes of the membership, to be written in the same batch.
    pub membership: Option<MembershipChange>,
}

/// Membership after a change.
#[derive(Clone, Debug, PartialEq)]
pub struct MembershipChange {
    /// For Raft.
    pub conf_state: wire::ConfState,
    /// For everyone else.
    pub group: map::Group,
}

/// Read entries `low..high` of a log (at least one, up to `max_bytes`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The shard.
    pub shard: ShardId,
    /// The replica.
    pub replica: ReplicaId,
    /// Names the fetch in its answer.
    pub id: u64,
    /// First index.
    pub low: u64,
    /// One behind the last index.
    pub high: u64,
    /// Rough bound.
    pub max_bytes: u64,
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The read may be answered from the applied state.
    ReadReady,
    /// Not done: this replica does not lead (or cannot take it now); the leader's node where known.
    NotLeader {
        /// The leader's node.
        leader: Option<NodeId>,
    },
    /// Not done: too much is uncommitted, or a leadership transfer is under way.
    Busy,
    /// It may or may not be applied.
    Unknown,
    /// This node has no replica of the shard.
    NoReplica,
}

/// A received snapshot to be installed.
#[derive(Clone, Debug)]
pub struct Install {
    /// The shard.
    pub shard: ShardId,
    /// The replica.
    pub replica: ReplicaId,
    /// As `SnapshotMeta::snapshot_id` said it when the message entered.
    pub snapshot_id: u64,
    /// Position of the snapshot: the log starts anew behind it.
    pub position: Position,
    /// To be written with it.
    pub hard_state: HardState,
    /// Entries behind the snapshot that came with it, to be written with it; often empty.
    pub entries: Vec<Entry>,
}

/// Send the files of a snapshot, then the message.
#[derive(Clone, Debug)]
pub struct SendSnapshot {
    /// The node.
    pub to: NodeId,
    /// Names the files.
    pub snapshot_id: u64,
    /// The message that enters the receiver's group when all files have come.
    pub message: wire::RaftMessage,
}

/// Role of a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Leads.
    Leader,
    /// Follows, or looks for a leader.
    #[default]
    Follower,
    /// Gets the log only.
    Learner,
}

/// What readers and routers may know of a group without asking the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Published {
    /// The shard.
    pub shard: ShardId,
    /// The replica here.
    pub replica: ReplicaId,
    /// Current term.
    pub term: u64,
    /// Role here.
    pub role: Role,
    /// Node that leads, where known.
    pub leader: Option<NodeId>,
    /// Until when (ns, CLOCK_BOOTTIME) this leader may serve reads from its applied state; 0: not at all.
    pub lease_until_ns: u64,
    /// The applied state holds everything that was committed when this clock (ns, CLOCK_BOOTTIME) was read; 0: unknown.
    pub fresh_ns: u64,
    /// The group's membership as applied here.
    pub group: map::Group,
    /// Destroyed: forget it.
    pub gone: bool,
    /// The replica is a voter or learner with state and close to the end of its leader's log.
    pub caught_up: bool,
    /// The group is at rest: who asks for its leader here tells the store, see [`crate::Event::Wake`].
    pub quiesced: bool,
    /// Whether it stands still.
    pub stands: Stands,
}
