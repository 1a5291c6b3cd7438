//! Takes in one snapshot: its files are checked and synced as they come, and only then does its message enter the store.
//! A snapshot that is cut or damaged leaves nothing.

use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use granary_common::NodeId;
use granary_engine::snapshot::{Received, SnapshotError, StagingArea};
use granary_proto::raft::{
    RaftMessage, SnapshotChunk, SnapshotFrame, SnapshotManifest, SnapshotOpen, SnapshotReply, raft_message::Body,
    snapshot_frame::Frame,
};
use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinHandle,
};
use tonic::Status;

use super::{
    inbound::{Inbound, OPEN_LIMIT, check_origin, refused},
    snapshot_send::STALLED,
    weight,
};

/// Chunks that wait for the disk.
const BEFORE_DISK: usize = 2;

/// What the thread that writes the files is told. Closed before `Done`, the snapshot was cut.
enum Part {
    Chunk(SnapshotChunk),
    Done,
}

#[derive(Debug, Error)]
enum ReceiveError {
    #[error("the stream ended before `done`")]
    Cut,
    #[error(transparent)]
    Staging(#[from] SnapshotError),
}

impl Inbound {
    /// Takes one snapshot. Accepted only once the store has its message; what is not accepted left nothing here.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` while too many come in (to be tried again), `FAILED_PRECONDITION` for a sender that is not let
    /// in or meant another node, `INVALID_ARGUMENT` for what breaks the protocol, `UNAVAILABLE` when the store has ended.
    pub async fn snapshot<S>(&self, mut frames: S) -> Result<SnapshotReply, Status>
    where
        S: Stream<Item = Result<SnapshotFrame, Status>> + Unpin,
    {
        let Some(Frame::Open(open)) = next(&mut frames, OPEN_LIMIT).await? else {
            return Err(Status::invalid_argument("the first frame of a snapshot must be `open`"));
        };
        let (message, manifest) = self.check(open)?;
        let Ok(permit) = self.receives.clone().try_acquire_owned() else {
            return Err(Status::resource_exhausted("too many snapshots come in at once; try again"));
        };
        let (parts, writer) = write(self.staging.clone(), manifest);
        let forwarded = forward(&mut frames, parts).await;
        let received = match writer.await {
            Ok(Ok(received)) => received,
            // A connection that broke says more than the cut that it made.
            Ok(Err(ReceiveError::Cut)) if forwarded.is_err() => return Err(forwarded.err().unwrap_or_else(ended)),
            Ok(Err(error)) => {
                tracing::warn!(shard = message.shard_id, from = message.from_node, %error, "snapshot refused");
                return Ok(SnapshotReply { accepted: false, message: error.to_string() });
            }
            Err(_) => return Err(ended()),
        };
        self.hand_over(message, received, permit).await
    }

    /// Not cancelled when the sender goes away: what is staged gets its message. Counts as coming in until it has it.
    async fn hand_over(
        &self,
        mut message: RaftMessage,
        received: Received,
        permit: OwnedSemaphorePermit,
    ) -> Result<SnapshotReply, Status> {
        let (store, inbox) = (self.store.clone(), self.inbox.clone());
        let hand_over = tokio::spawn(async move {
            let _permit = permit;
            let id = inbox.staged(received);
            if let Some(Body::Raft(raft)) = &mut message.body
                && let Some(snapshot) = &mut raft.snapshot
            {
                snapshot.snapshot_id = id;
            }
            let weight = weight::of(&message);
            store.deliver(vec![message], weight).await
        });
        match hand_over.await {
            Ok(Ok(())) => Ok(SnapshotReply { accepted: true, message: String::new() }),
            Ok(Err(error)) => Err(Status::unavailable(error.to_string())),
            Err(_) => Err(ended()),
        }
    }

    fn check(&self, open: SnapshotOpen) -> Result<(RaftMessage, SnapshotManifest), Status> {
        let missing = |field: &str| Status::invalid_argument(format!("{field} is missing"));
        self.peers.check_meant(open.to_node_id).map_err(refused)?;
        let sender = open.sender.ok_or_else(|| missing("open.sender"))?;
        self.peers.admit(&sender).map_err(refused)?;
        let message = open.message.ok_or_else(|| missing("open.message"))?;
        let manifest = open.manifest.ok_or_else(|| missing("open.manifest"))?;
        check_origin(std::slice::from_ref(&message), &sender)?;
        let Some(Body::Raft(raft)) = &message.body else { return Err(missing("open.message.raft")) };
        let snapshot = raft.snapshot.as_ref().ok_or_else(|| missing("open.message.raft.snapshot"))?;
        let of_message = (message.shard_id, snapshot.index, snapshot.term);
        let of_manifest = (manifest.shard_id, manifest.applied_index, manifest.applied_term);
        if of_message != of_manifest {
            return Err(Status::invalid_argument(format!(
                "open.manifest is of shard, index and term {of_manifest:?}, open.message of {of_message:?}"
            )));
        }
        tracing::info!(shard = message.shard_id, from = %NodeId(sender.node_id), index = snapshot.index, "snapshot comes in");
        Ok((message, manifest))
    }
}

/// The thread that checks and writes the files. It ends, and what it wrote is removed, when the parts end before `Done`.
fn write(
    staging: Arc<StagingArea>,
    manifest: SnapshotManifest,
) -> (mpsc::Sender<Part>, JoinHandle<Result<Received, ReceiveError>>) {
    let (parts, mut incoming_parts) = mpsc::channel(BEFORE_DISK);
    let writer = tokio::task::spawn_blocking(move || {
        let mut incoming = staging.receive(manifest)?;
        while let Some(part) = incoming_parts.blocking_recv() {
            match part {
                Part::Chunk(chunk) => incoming.chunk(&chunk)?,
                Part::Done => return Ok(incoming.finish()?),
            }
        }
        Err(ReceiveError::Cut)
    });
    (parts, writer)
}

/// Hands the frames to the writer until `done`, or until the writer has failed.
async fn forward<S>(frames: &mut S, parts: mpsc::Sender<Part>) -> Result<(), Status>
where
    S: Stream<Item = Result<SnapshotFrame, Status>> + Unpin,
{
    loop {
        let (part, last) = match next(frames, STALLED).await? {
            Some(Frame::Chunk(chunk)) => (Part::Chunk(chunk), false),
            Some(Frame::Done(_)) => (Part::Done, true),
            Some(Frame::Open(_)) => return Err(Status::invalid_argument("`open` comes once, as the first frame")),
            None => return Ok(()),
        };
        if parts.send(part).await.is_err() || last {
            return Ok(());
        }
    }
}

async fn next<S>(frames: &mut S, limit: std::time::Duration) -> Result<Option<Frame>, Status>
where
    S: Stream<Item = Result<SnapshotFrame, Status>> + Unpin,
{
    match tokio::time::timeout(limit, frames.next()).await {
        Err(_) => Err(Status::deadline_exceeded(format!("no frame for {} s", limit.as_secs()))),
        Ok(None) => Ok(None),
        Ok(Some(frame)) => match frame?.frame {
            None => Err(Status::invalid_argument("a frame is none of `open`, `chunk` and `done`")),
            frame => Ok(frame),
        },
    }
}

fn ended() -> Status {
    Status::unavailable("the node is stopping")
}
