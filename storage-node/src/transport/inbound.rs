//! Takes in other nodes' streams of messages, in order, and their Hellos. What a message says is not its business.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _};
use granary_common::{NodeId, ShardId};
use granary_engine::snapshot::StagingArea;
use granary_proto::raft::{
    HelloRequest, HelloResponse, Lane, MessagesClosed, MessagesFrame, RaftMessage, Sender, raft_message::Body,
};
use tokio::sync::Semaphore;
use tonic::Status;

use super::{
    Limits, Peers, Refusal,
    peers::MAX_KNOWN,
    turns::{Superseded, Turns},
    weight,
};
use crate::{
    drivers::{SnapshotInbox, StoreHandle},
    space::Space,
};

/// Longest wait for the first frame of a stream.
pub(super) const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// The receiving half of a member.
pub struct Inbound {
    pub(super) peers: Arc<Peers>,
    pub(super) store: StoreHandle,
    pub(super) inbox: Arc<dyn SnapshotInbox>,
    pub(super) staging: Arc<StagingArea>,
    space: Arc<Space>,
    /// Snapshots that are coming in.
    pub(super) receives: Arc<Semaphore>,
    turns: Turns,
}

impl Inbound {
    /// Made once the drivers run: messages go to `store`, received snapshots to `inbox`, their files below `staging`;
    /// `space` says which appends the disk has no room for.
    pub fn new(
        peers: Arc<Peers>,
        store: StoreHandle,
        inbox: Arc<dyn SnapshotInbox>,
        staging: Arc<StagingArea>,
        space: Arc<Space>,
        limits: &Limits,
    ) -> Arc<Self> {
        let receives = Arc::new(Semaphore::new(limits.snapshot_receives.max(1)));
        Arc::new(Self { peers, store, inbox, staging, space, receives, turns: Turns::default() })
    }

    /// Answers Hello, and learns from it where nodes are.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` for a sender that is not let in.
    pub fn hello(&self, request: HelloRequest) -> Result<HelloResponse, Status> {
        if let Some(sender) = &request.sender {
            // A blank node asks whom it may join: it has nothing to be checked.
            if !sender.cluster_id.is_empty() {
                self.peers.admit(sender).map_err(refused)?;
                if request.goodbye {
                    self.peers.said_goodbye(sender);
                } else {
                    self.peers.learn_from_itself(sender, false);
                    request.known.into_iter().take(MAX_KNOWN).for_each(|known| self.peers.learn(known));
                }
            }
        }
        Ok(HelloResponse {
            sender: Some(self.peers.own().clone()),
            known: self.peers.known(),
            map_version: self.peers.map().current().version,
        })
    }

    /// Takes one stream of messages, until it ends or a newer one takes its place.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` for a sender that is not let in or meant another node, `INVALID_ARGUMENT` for what breaks the
    /// protocol, `ABORTED` when a newer stream took over, `UNAVAILABLE` when the store has ended.
    pub async fn messages<S>(&self, mut frames: S) -> Result<MessagesClosed, Status>
    where
        S: Stream<Item = Result<MessagesFrame, Status>> + Unpin,
    {
        let first = tokio::time::timeout(OPEN_LIMIT, frames.next())
            .await
            .map_err(|_| Status::deadline_exceeded("the first frame took longer than 10 s"))?
            .ok_or_else(|| Status::invalid_argument("the stream has no frame, its first must be `open`"))??;
        let open = first.open.ok_or_else(|| Status::invalid_argument("the first frame has no `open`"))?;
        let lane = match open.lane() {
            Lane::Unspecified => {
                return Err(Status::invalid_argument(format!("open.lane is {}, allowed are 1 and 2", open.lane)));
            }
            lane => lane,
        };
        self.peers.check_meant(open.to_node_id).map_err(refused)?;
        let sender = open.sender.ok_or_else(|| Status::invalid_argument("open.sender is missing"))?;
        self.peers.admit(&sender).map_err(refused)?;
        let node = NodeId(sender.node_id);
        let mut opened = self.peers.stream_began(node, sender.incarnation);
        let outcome = async {
            let turn = self.turns.take(node, lane, (sender.incarnation, open.number)).await?;
            let speak = async {
                self.deliver(&sender, first.messages, first.slow).await?;
                while let Some(frame) = frames.next().await {
                    let frame = frame.map_err(Broken::Connection)?;
                    self.deliver(&sender, frame.messages, frame.slow).await?;
                }
                // Its sender gave the stream up, and lives; when a process dies, this call is dropped or gets an error.
                Ok(MessagesClosed {})
            };
            tokio::select! {
                biased;
                () = turn.over() => Err(Broken::Order(Status::aborted("a newer stream took over"))),
                outcome = speak => outcome,
            }
        }
        .await;
        match outcome {
            Err(Broken::Connection(status)) => Err(status),
            Err(Broken::Order(status)) => {
                opened.ended_in_order();
                Err(status)
            }
            Ok(closed) => {
                opened.ended_in_order();
                Ok(closed)
            }
        }
    }

    async fn deliver(&self, sender: &Sender, mut messages: Vec<RaftMessage>, slow: bool) -> Result<(), Broken> {
        let node = NodeId(sender.node_id);
        if !self.peers.heard_again(node, sender.incarnation, slow) {
            let why = format!("a later incarnation of {node} than {} was let in", sender.incarnation);
            return Err(Broken::Order(Status::failed_precondition(why)));
        }
        if messages.is_empty() {
            return Ok(());
        }
        check_origin(&messages, sender).and_then(|()| check_files(&messages)).map_err(Broken::Order)?;
        // As if the network had lost them: their leader counts this node as slow, and sends them again later.
        messages.retain(|message| self.space.admits(weight::of_entries(message)));
        let weight = weight::of_all(&messages);
        self.store
            .deliver(messages, weight)
            .await
            .map_err(|error| Broken::Order(Status::unavailable(error.to_string())))
    }
}

/// Nobody speaks for another.
pub(super) fn check_origin(messages: &[RaftMessage], sender: &Sender) -> Result<(), Status> {
    match messages.iter().find(|message| message.from_node != sender.node_id) {
        None => Ok(()),
        Some(message) => {
            let (says, is) = (message.from_node, sender.node_id);
            Err(Status::invalid_argument(format!("message.from_node is {says}, the sender is {is}")))
        }
    }
}

/// A snapshot's message would make the store look for files that never came.
fn check_files(messages: &[RaftMessage]) -> Result<(), Status> {
    let carries = |message: &RaftMessage| matches!(&message.body, Some(Body::Raft(raft)) if raft.snapshot.is_some());
    match messages.iter().find(|message| carries(message)) {
        None => Ok(()),
        Some(message) => {
            let shard = ShardId(message.shard_id);
            Err(Status::invalid_argument(format!(
                "message.raft.snapshot of {shard} is set; it comes with its files only"
            )))
        }
    }
}

/// How a stream ended before its time.
enum Broken {
    /// Its connection.
    Connection(Status),
    /// We ended it.
    Order(Status),
}

impl From<Superseded> for Broken {
    fn from(Superseded(incarnation, number): Superseded) -> Self {
        let why = format!("stream {number} of incarnation {incarnation} is newer than this one");
        Self::Order(Status::aborted(why))
    }
}

/// Why a sender is not let in, as gRPC has it.
pub(super) fn refused(refusal: Refusal) -> Status {
    Status::failed_precondition(refusal.to_string())
}
