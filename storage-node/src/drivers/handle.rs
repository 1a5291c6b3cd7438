//! How the services of a node reach its store: questions in, answers out, each holding a counted credit.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use crossbeam_channel::Sender;
use granary_common::{NodeId, ShardId};
use granary_duties::lease::{self, Ground};
pub use granary_duties::states::Applied;
use granary_proto::raft as wire;
use granary_store::{Event, Published, Ticket};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{clock, published::Board};

/// Bounds of what a node takes in before it refuses or stops reading.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Proposals and ReadIndex questions under way, over all shards.
    pub requests: usize,
    /// Bytes of proposals under way, over all shards. At least one full batch is let through.
    pub request_bytes: usize,
    /// Bytes of peers' messages that wait for the store, and as many of heartbeats; beyond it streams from peers are not
    /// read.
    pub peer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests: 16_384, request_bytes: 64 << 20, peer_bytes: 64 << 20 }
    }
}

/// Why a question was not answered as asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// Not done here; the leader's node where known.
    #[error("this node does not lead the shard")]
    NotLeader {
        /// The leader's node.
        leader: Option<NodeId>,
    },
    /// Not done: no replica of the shard here.
    #[error("this node has no replica of the shard")]
    NoReplica,
    /// Not done: out of credit.
    #[error("too much work is in flight")]
    Busy,
    /// A write that may or may not be applied.
    #[error("the outcome of the write is not known")]
    Unknown,
    /// A read, or a write that was never proposed, ran out of time.
    #[error("the time limit passed")]
    Timeout,
    /// Not done: the node is stopping. For a write, only what never reached the store.
    #[error("the node is stopping")]
    Stopping,
}

/// What the store thread and the appliers answer.
pub(crate) type Reply = Result<Option<Applied>, StoreError>;

struct Waiter {
    reply: oneshot::Sender<Reply>,
    /// What it hears when the store ends: a write may be in the log by then.
    at_end: StoreError,
    _credits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// Callers that wait, by ticket. Bounded by the credits that each holds.
#[derive(Default)]
pub(crate) struct Waiters {
    shards: [Mutex<Waiting>; 16],
    next: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    by_ticket: std::collections::HashMap<Ticket, Waiter>,
    /// The store has ended: nobody would be answered any more.
    ended: bool,
}

impl Waiters {
    /// `None`: the store has ended.
    fn insert(&self, waiter: Waiter) -> Option<Ticket> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let mut waiting = self.shards[(ticket % 16) as usize].lock();
        if waiting.ended {
            return None;
        }
        waiting.by_ticket.insert(ticket, waiter);
        Some(ticket)
    }

    /// Answers the caller, if it still waits, and frees its credits.
    pub(crate) fn answer(&self, ticket: Ticket, reply: Reply) {
        let waiter = self.shards[(ticket % 16) as usize].lock().by_ticket.remove(&ticket);
        if let Some(waiter) = waiter {
            // A caller that went away (its connection broke) needs no answer.
            let _ = waiter.reply.send(reply);
        }
    }

    /// Answers everyone, and lets nobody wait any more: the store has ended.
    pub(crate) fn stop(&self) {
        for shard in &self.shards {
            let mut waiting = shard.lock();
            waiting.ended = true;
            for (_, waiter) in waiting.by_ticket.drain() {
                let _ = waiter.reply.send(Err(waiter.at_end));
            }
        }
    }
}

/// The running store, for services. Cheap to clone.
#[derive(Clone)]
pub struct StoreHandle {
    /// Always read.
    control: Sender<StoreInput>,
    /// Read while there is room for new work.
    intake: Sender<StoreInput>,
    waiters: Arc<Waiters>,
    board: Arc<Board>,
    requests: Arc<Semaphore>,
    request_bytes: Arc<Semaphore>,
    peer_bytes: Arc<Semaphore>,
    /// Of heartbeats and their answers, apart: those never wait behind data that finds no room.
    heartbeat_bytes: Arc<Semaphore>,
    limits: Limits,
}

/// An event with the credit it holds until the store has taken it.
#[allow(clippy::large_enum_variant, reason = "nearly all are events: boxing them would cost an allocation each")]
pub(crate) enum StoreInput {
    /// For the store.
    Event(Event),
    /// From a peer's stream.
    Messages(Vec<wire::RaftMessage>, OwnedSemaphorePermit),
    /// There is news in the table of what is applied.
    Applied,
    /// Ask for a report.
    Report(oneshot::Sender<(Vec<wire::LedShard>, Vec<wire::HeldReplica>)>),
    /// End the thread.
    Stop,
}

impl StoreHandle {
    pub(crate) fn new(
        (control, intake): (Sender<StoreInput>, Sender<StoreInput>),
        waiters: Arc<Waiters>,
        board: Arc<Board>,
        limits: Limits,
    ) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            control,
            intake,
            waiters,
            board,
            requests: semaphore(limits.requests),
            request_bytes: semaphore(limits.request_bytes),
            peer_bytes: semaphore(limits.peer_bytes),
            heartbeat_bytes: semaphore(limits.peer_bytes),
            limits,
        }
    }

    /// Appends an encoded `Command` (or `MetaCommand` for the meta shard) and waits until it is applied here.
    ///
    /// # Errors
    /// [`StoreError::Busy`] at once when there is no credit; [`StoreError::Unknown`] when `limit` passes behind the
    /// proposal.
    pub async fn propose(&self, shard: ShardId, command: Bytes, limit: Duration) -> Result<Applied, StoreError> {
        if self.board.is_refused(shard) {
            return Err(StoreError::NotLeader { leader: None });
        }
        let weight = command.len();
        let reply = self.ask(weight, StoreError::Unknown, |ticket| Event::Propose { shard, ticket, data: command })?;
        match tokio::time::timeout(limit, reply).await {
            Ok(Ok(reply)) => reply?.ok_or(StoreError::Unknown),
            Ok(Err(_)) | Err(_) => Err(StoreError::Unknown),
        }
    }

    /// Appends a mark and waits until it is applied here: what the replica held there is in [`super::Marks`] then.
    ///
    /// # Errors
    /// As of [`StoreHandle::propose`].
    pub async fn mark(&self, shard: ShardId, mark: u64, limit: Duration) -> Result<(), StoreError> {
        let reply = self.ask(0, StoreError::Unknown, |ticket| Event::Mark { shard, ticket, mark })?;
        match tokio::time::timeout(limit, reply).await {
            Ok(Ok(reply)) => reply.map(|_| ()),
            Ok(Err(_)) | Err(_) => Err(StoreError::Unknown),
        }
    }

    /// The replica of the shard here holds wrong rows: nothing of it is served until it is gone or made anew.
    pub fn refuse(&self, shard: ShardId) {
        self.board.refuse(shard);
    }

    /// Shards of which nothing is served here.
    pub fn refused(&self) -> BTreeSet<ShardId> {
        self.board.refused()
    }

    /// Waits until a read of the shard's applied state here is linearizable: at once while the lease holds, else by
    /// ReadIndex. The answer must be read, then [`ReadPass::still_holds`] be asked, and if it says no, all be done again.
    ///
    /// # Errors
    /// [`StoreError::NotLeader`] where another replica leads; [`StoreError::Timeout`] when `limit` passes.
    pub async fn read(&self, shard: ShardId, limit: Duration) -> Result<ReadPass, StoreError> {
        if let Some(pass) = self.read_by_lease(shard) {
            return Ok(pass);
        }
        match self.published(shard) {
            None => return Err(StoreError::NoReplica),
            Some(_) if self.board.is_refused(shard) => return Err(StoreError::NotLeader { leader: None }),
            Some(state) if state.role != granary_store::Role::Leader => {
                self.wake(&state);
                return Err(StoreError::NotLeader { leader: state.leader });
            }
            Some(_) => {}
        }
        let reply = self.ask(0, StoreError::Stopping, |ticket| Event::Read { shard, ticket })?;
        match tokio::time::timeout(limit, reply).await {
            Ok(Ok(reply)) => reply.map(|_| ReadPass { ground: Ground::ReadIndex, board: self.board.clone(), shard }),
            Ok(Err(_)) => Err(StoreError::Stopping),
            Err(_) => Err(StoreError::Timeout),
        }
    }

    /// A pass for a read now, when this node leads the shard and its lease holds. Never waits.
    pub fn read_by_lease(&self, shard: ShardId) -> Option<ReadPass> {
        let ground = lease::ground(self.board.lease(shard), clock::now_ns())?;
        Some(ReadPass { ground, board: self.board.clone(), shard })
    }

    /// Wakes the group of `state`, if it rests: somebody asks for its leader, or for a fresher replica. Bounded by the requests in
    /// flight, of which the first ends the rest.
    pub fn wake(&self, state: &Published) {
        if state.quiesced {
            self.event(Event::Wake { shard: state.shard });
        }
    }

    fn ask(
        &self,
        weight: usize,
        at_end: StoreError,
        event: impl FnOnce(Ticket) -> Event,
    ) -> Result<oneshot::Receiver<Reply>, StoreError> {
        // One command heavier than the whole budget takes all of it.
        let weight = weight.min(self.limits.request_bytes).max(1) as u32;
        let request = self.requests.clone().try_acquire_owned().map_err(|_| StoreError::Busy)?;
        let bytes = self.request_bytes.clone().try_acquire_many_owned(weight).map_err(|_| StoreError::Busy)?;
        let (reply, answer) = oneshot::channel();
        let waiter = Waiter { reply, at_end, _credits: (request, bytes) };
        let ticket = self.waiters.insert(waiter).ok_or(StoreError::Stopping)?;
        if self.intake.send(StoreInput::Event(event(ticket))).is_err() {
            self.waiters.answer(ticket, Err(StoreError::Stopping));
        }
        Ok(answer)
    }

    /// Hands a peer's messages to the store, in order; waits while too many bytes wait there.
    ///
    /// # Errors
    /// [`StoreError::Stopping`] once the store has ended.
    pub async fn deliver(&self, messages: Vec<wire::RaftMessage>, weight: usize) -> Result<(), StoreError> {
        let weight = weight.min(self.limits.peer_bytes).max(1) as u32;
        // Heartbeats are small and must be heard even while there is no room for new work.
        let (lane, credits) = if messages.iter().all(is_heartbeat) {
            (&self.control, &self.heartbeat_bytes)
        } else {
            (&self.intake, &self.peer_bytes)
        };
        let credit = credits.clone().acquire_many_owned(weight).await.map_err(|_| StoreError::Stopping)?;
        lane.send(StoreInput::Messages(messages, credit)).map_err(|_| StoreError::Stopping)
    }

    /// Hands an event to the store. Only for events whose number is bounded elsewhere (control, completions).
    pub fn event(&self, event: Event) {
        // A store that has ended needs no events.
        let _ = self.control.send(StoreInput::Event(event));
    }

    /// What the store last published of the shard's replica here; `None` when there is none.
    pub fn published(&self, shard: ShardId) -> Option<Arc<Published>> {
        self.board.get(shard)
    }

    /// The same of all replicas here, in shard order.
    pub fn all_published(&self) -> Vec<Arc<Published>> {
        self.board.all()
    }

    /// Own clock (ns, [`clock::now_ns`]) at which the shard's replica here had everything that was committed; 0: unknown.
    /// What a stale read's bound is counted from.
    pub fn fresh_ns(&self, shard: ShardId) -> u64 {
        self.board.fresh_ns(shard)
    }

    /// Changes whenever a leader or a membership changed here.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.board.changes()
    }

    /// Groups led here and replicas held here, as the store sees them now.
    ///
    /// # Errors
    /// [`StoreError::Stopping`] once the store has ended.
    pub async fn report(&self) -> Result<(Vec<wire::LedShard>, Vec<wire::HeldReplica>), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.control.send(StoreInput::Report(reply)).map_err(|_| StoreError::Stopping)?;
        answer.await.map_err(|_| StoreError::Stopping)
    }

    /// How long the store's loop has not turned: what a node that is stuck is known by.
    pub fn stands_for(&self) -> Duration {
        self.board.stands_for()
    }

    /// Requests that could still be taken.
    pub fn free_requests(&self) -> usize {
        self.requests.available_permits()
    }
}

fn is_heartbeat(message: &wire::RaftMessage) -> bool {
    const HEARTBEAT: u32 = 8;
    const HEARTBEAT_RESPONSE: u32 = 9;
    match &message.body {
        Some(wire::raft_message::Body::Raft(body)) => body.r#type == HEARTBEAT || body.r#type == HEARTBEAT_RESPONSE,
        Some(wire::raft_message::Body::Wake(_)) => true,
        Some(wire::raft_message::Body::Notice(_)) | None => false,
    }
}

/// Leave to answer one read from the applied state.
pub struct ReadPass {
    ground: Ground,
    board: Arc<Board>,
    shard: ShardId,
}

impl ReadPass {
    /// Whether it rests on a lease, so that [`ReadPass::still_holds`] tells whether the replica was the leader's all the
    /// time between. Without one, what belongs together must be read from one snapshot.
    pub fn is_by_lease(&self) -> bool {
        self.ground != Ground::ReadIndex
    }

    /// Asked after reading: whether the lease still holds, so that a pause between the check and the read cannot make
    /// a stale answer (HAZARDS H16).
    pub fn still_holds(&self) -> bool {
        !self.board.is_refused(self.shard)
            && lease::still_holds(self.ground, self.board.lease(self.shard), clock::now_ns())
    }
}

/// A deadline as a remaining time; zero when it has passed.
pub fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
