//! What the log writer collects for many logs before one write: plain data, in the order in which it shall happen.

use bytes::Bytes;
use granary_common::{
    NodeId,
    log::{Entry, HardState, Position},
};
use granary_proto::storage::ReplicaRecord;

use super::LogId;

/// One change of `raft/`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operation {
    Append { log: LogId, entries: Vec<Entry> },
    HardState { log: LogId, hard_state: HardState },
    Truncate { log: LogId, to: Position },
    Restart { log: LogId, at: Position, hard_state: HardState },
    Delete { log: LogId },
    Record(ReplicaRecord),
    Map(Bytes),
    Incarnation { node: NodeId, incarnation: u64 },
}

/// Changes of many logs that are written as one, with at most one sync. Later ones see earlier ones.
#[derive(Clone, Debug, Default)]
pub struct LogBatch {
    pub(crate) operations: Vec<Operation>,
    pub(crate) must_sync: bool,
    weight: usize,
}

impl LogBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes that were asked for.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Rough size in memory, in bytes: what a writer that drains a queue bounds its batch by.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Writes `entries` (ascending, without holes, from anywhere in the log to one behind its end); whatever the log had
    /// at or above the first of them is gone in the same batch (HAZARDS H8). Synced.
    pub fn append(&mut self, log: LogId, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        self.weight += entries.iter().map(Entry::weight).sum::<usize>();
        self.must_sync = true;
        self.push(Operation::Append { log, entries });
    }

    /// Replaces the hard state. Synced when the term or the vote changed; a commit index alone may be lost.
    pub fn set_hard_state(&mut self, log: LogId, hard_state: HardState) {
        self.push(Operation::HardState { log, hard_state });
    }

    /// Purges the entries up to and with `to`, which must be known durable in `data/`. The log begins behind `to` at
    /// once; at most [`super::MAX_PURGED`] rows are deleted a call, the rest by later ones. Not synced.
    pub fn truncate(&mut self, log: LogId, to: Position) {
        self.push(Operation::Truncate { log, to });
    }

    /// Begins the log anew behind `at`, as after an installed snapshot or for the first voters of a new shard: every
    /// entry of it is gone. Synced.
    pub fn restart_log(&mut self, log: LogId, at: Position, hard_state: HardState) {
        self.must_sync = true;
        self.push(Operation::Restart { log, at, hard_state });
    }

    /// Removes a log with its hard state. Not synced: the tombstone in the shard's record, which is synced first,
    /// says that it shall go.
    pub fn delete_log(&mut self, log: LogId) {
        self.push(Operation::Delete { log });
    }

    /// Replaces what is known of this node's replica of a shard. Synced.
    pub fn put_record(&mut self, record: ReplicaRecord) {
        self.must_sync = true;
        self.push(Operation::Record(record));
    }

    /// Replaces the copy of the cluster map (encoded). Not synced: an old map is only slower.
    pub fn put_map(&mut self, map: Bytes) {
        self.weight += map.len();
        self.push(Operation::Map(map));
    }

    /// Remembers the highest incarnation seen of a peer. Synced.
    pub fn put_incarnation(&mut self, node: NodeId, incarnation: u64) {
        self.must_sync = true;
        self.push(Operation::Incarnation { node, incarnation });
    }

    /// Makes the write a synced one whatever is in it.
    pub fn require_sync(&mut self) {
        self.must_sync = true;
    }

    /// Adds what `other` holds behind what is here.
    pub fn extend(&mut self, mut other: LogBatch) {
        self.operations.append(&mut other.operations);
        self.must_sync |= other.must_sync;
        self.weight += other.weight;
    }

    fn push(&mut self, operation: Operation) {
        self.weight += 64;
        self.operations.push(operation);
    }
}
