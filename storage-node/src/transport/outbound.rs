//! Sends the store's messages: a stream for each lane to each node, with a bounded queue before it.
//!
//! A message is sent once or not at all, and never behind a later one of its lane: when a stream breaks, all that waited
//! for it is dropped with it, the store is told, and the next stream begins with what comes after.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    io, iter,
    sync::Arc,
    time::{Duration, Instant},
};

use granary_common::NodeId;
use granary_duties::standing::Work;
use granary_engine::snapshot::Exported;
use granary_proto::raft::{self as wire, MessagesFrame, Open, RaftMessage};
use granary_store::{Lane, Send, SendSnapshot};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use super::{
    Limits, Peers, backoff::Backoff, channels::Purpose, queue::LaneQueue, snapshot_send::SnapshotSender,
    unreachable::Unreachable,
};
use crate::drivers::{LaneTo, Outbound, StoreHandle};

/// Between two attempts at a stream: first and longest pause.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// Longest wait of the watchdog for a look.
const SOON: Duration = Duration::from_millis(10);
/// A stream that stood this long was a good one: the pauses begin anew.
const GOOD_STREAM: Duration = Duration::from_secs(1);

/// All streams from this node to others. Dropped, they end.
pub struct Streams {
    peers: Arc<Peers>,
    runtime: Handle,
    limits: Limits,
    lanes: Mutex<HashMap<(NodeId, Lane), LaneStream>>,
    unreachable: Arc<Unreachable>,
    snapshots: Arc<SnapshotSender>,
}

struct LaneStream {
    queue: Arc<LaneQueue>,
    _task: AbortOnDropHandle<()>,
}

impl Streams {
    /// Made before the drivers, which send through it. Streams are opened when there is something to send, and
    /// run in `runtime`.
    pub fn new(peers: Arc<Peers>, limits: Limits, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            unreachable: Arc::new(Unreachable::new(runtime.clone())),
            snapshots: Arc::new(SnapshotSender::new(peers.clone(), &limits)),
            lanes: Mutex::default(),
            peers,
            runtime,
            limits,
        })
    }

    /// From now on the store is told of lost messages. To be called as soon as the drivers run.
    pub fn attach(&self, store: StoreHandle) {
        self.unreachable.attach(store);
    }

    fn open(&self, node: NodeId, lane: Lane) -> LaneStream {
        let limit = match lane {
            Lane::Heartbeats => self.limits.heartbeat_bytes,
            Lane::Appends => self.limits.append_bytes,
        };
        let queue = Arc::new(LaneQueue::new(limit, self.limits.frame_bytes));
        let stream = Stream {
            peers: self.peers.clone(),
            queue: queue.clone(),
            unreachable: self.unreachable.clone(),
            node,
            lane,
        };
        LaneStream { queue, _task: AbortOnDropHandle::new(self.runtime.spawn(stream.keep_open())) }
    }
}

impl Outbound for Streams {
    fn send(&self, sends: Vec<Send>) {
        let mut by_lane: BTreeMap<(NodeId, Lane), Vec<RaftMessage>> = BTreeMap::new();
        for Send { to, lane, message } in sends {
            by_lane.entry((to, lane)).or_default().push(message);
        }
        let mut lanes = self.lanes.lock();
        for ((to, lane), messages) in by_lane {
            let stream = lanes.entry((to, lane)).or_insert_with(|| self.open(to, lane));
            if !stream.queue.push(messages) {
                self.unreachable.tell(to);
            }
        }
    }

    fn send_snapshot(
        &self,
        wanted: SendSnapshot,
        files: Arc<Exported>,
        done: Box<dyn FnOnce(bool) + std::marker::Send>,
    ) {
        self.runtime.spawn(self.snapshots.clone().send(wanted, files, done));
    }

    fn queues(&self) -> Option<Vec<(LaneTo, Work)>> {
        let lanes = self.lanes.try_lock_for(SOON)?;
        let work = |((node, lane), stream): (&(NodeId, Lane), &LaneStream)| {
            ((*node, *lane == Lane::Heartbeats), stream.queue.work())
        };
        Some(lanes.iter().map(work).collect())
    }
}

/// The task that keeps one lane's stream to one node open.
struct Stream {
    peers: Arc<Peers>,
    queue: Arc<LaneQueue>,
    unreachable: Arc<Unreachable>,
    node: NodeId,
    lane: Lane,
}

impl Stream {
    async fn keep_open(self) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        let mut number = 0;
        let mut last_end = String::new();
        loop {
            self.queue.filled().await;
            number += 1;
            let began = Instant::now();
            let end = self.stream(number).await;
            self.queue.break_off();
            self.peers.failed(self.node, was_cut(&end));
            self.unreachable.tell(self.node);
            // A node may be away for days: said once, not at each attempt.
            let end = in_full(&end);
            if end == last_end {
                tracing::debug!(node = %self.node, lane = ?self.lane, end, "stream ended");
            } else {
                tracing::warn!(node = %self.node, lane = ?self.lane, end, "stream ended");
                last_end = end;
            }
            if began.elapsed() > GOOD_STREAM {
                backoff.reset();
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// One stream, until it ends; the reason.
    async fn stream(&self, number: u64) -> Status {
        let (purpose, lane) = match self.lane {
            Lane::Heartbeats => (Purpose::Heartbeats, wire::Lane::Heartbeats),
            Lane::Appends => (Purpose::Appends, wire::Lane::Appends),
        };
        let Some(mut client) = self.peers.peer_client_for(self.node, purpose) else {
            return Status::unavailable(format!("no address of {} is known", self.node));
        };
        let open = Open { sender: Some(self.peers.own().clone()), to_node_id: self.node.0, lane: lane.into(), number };
        self.queue.begin(number);
        let state = (self.queue.clone(), self.peers.clone(), Some(open));
        let frames = futures::stream::unfold(state, move |(queue, peers, open)| async move {
            let messages = if open.is_some() { Vec::new() } else { queue.take(number).await? };
            let frame = MessagesFrame { open, messages, slow: peers.is_slow_here() };
            Some((frame, (queue, peers, None)))
        });
        match client.messages(frames).await {
            Ok(_) => Status::unavailable("the other side closed the stream"),
            Err(status) => status,
        }
    }
}

/// Whether the stream ended because a connection that stood broke, as when the process at its other end dies; not because
/// of silence, a refusal, or because there was none.
fn was_cut(end: &Status) -> bool {
    let broken = |error: &io::Error| {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
    };
    sources(end).any(|error| error.downcast_ref().is_some_and(broken))
}

/// A status says no more than "transport error": the reason is in its sources.
fn in_full(end: &Status) -> String {
    sources(end).fold(end.message().to_owned(), |text, source| format!("{text}: {source}"))
}

fn sources(end: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    iter::successors(end.source(), |error| (*error).source())
}
