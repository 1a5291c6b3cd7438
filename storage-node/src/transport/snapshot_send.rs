//! Sends the files of a snapshot, then the message that it belongs to. Any failure is one answer, no; the store asks
//! again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use granary_engine::snapshot::{Exported, SnapshotError};
use granary_proto::raft::{SnapshotChunk, SnapshotDone, SnapshotFrame, SnapshotOpen, snapshot_frame::Frame};
use granary_store::SendSnapshot;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, watch};

use super::{Limits, Peers, channels::Purpose};
use crate::pace::Pace;

/// A send in which nothing moved for this long has failed.
pub(super) const STALLED: Duration = Duration::from_secs(30);
/// Chunks that are read ahead of the network.
const READ_AHEAD: usize = 2;

/// Called once: by an answer, or with `false` when it is dropped.
struct Done(Option<Box<dyn FnOnce(bool) + Send>>);

impl Done {
    fn tell(&mut self, accepted: bool) {
        if let Some(done) = self.0.take() {
            done(accepted);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        self.tell(false);
    }
}

#[derive(Debug, Error)]
enum SendError {
    #[error("no address of the node is known")]
    NoAddress,
    #[error("nothing moved for 30 s")]
    Stalled,
    #[error("the receiver refused: {0}")]
    Refused(String),
    #[error("{}", .0.message())]
    Status(#[from] tonic::Status),
    #[error(transparent)]
    Read(#[from] SnapshotError),
}

/// Sends snapshots, some at a time; the others wait.
pub(super) struct SnapshotSender {
    peers: Arc<Peers>,
    at_once: Semaphore,
    pace: Pace,
}

/// What a stream of frames is made of.
struct Frames {
    sender: Arc<SnapshotSender>,
    open: Option<SnapshotOpen>,
    chunks: mpsc::Receiver<Result<SnapshotChunk, SnapshotError>>,
    /// Counts frames; closed when all are out.
    progress: watch::Sender<u64>,
    failure: Option<tokio::sync::oneshot::Sender<SnapshotError>>,
    ended: bool,
}

impl SnapshotSender {
    pub(super) fn new(peers: Arc<Peers>, limits: &Limits) -> Self {
        let pace = Pace::new(limits.snapshot_bytes_per_second);
        Self { peers, at_once: Semaphore::new(limits.snapshot_sends.max(1)), pace }
    }

    /// Sends it, and answers `done` once.
    pub(super) async fn send(
        self: Arc<Self>,
        wanted: SendSnapshot,
        files: Arc<Exported>,
        done: Box<dyn FnOnce(bool) + Send>,
    ) {
        let mut done = Done(Some(done));
        let (node, shard, bytes) = (wanted.to, wanted.message.shard_id, files.bytes());
        // The semaphore is never closed.
        let _permit = self.at_once.acquire().await;
        match self.clone().stream(wanted, files).await {
            Ok(()) => {
                tracing::info!(%node, shard, bytes, "snapshot sent");
                done.tell(true);
            }
            Err(error) => {
                tracing::warn!(%node, shard, bytes, %error, "snapshot not sent");
                done.tell(false);
            }
        }
    }

    async fn stream(self: Arc<Self>, wanted: SendSnapshot, files: Arc<Exported>) -> Result<(), SendError> {
        let node = wanted.to;
        let mut client = self.peers.peer_client_for(node, Purpose::Snapshots).ok_or(SendError::NoAddress)?;
        let open = SnapshotOpen {
            sender: Some(self.peers.own().clone()),
            to_node_id: node.0,
            message: Some(wanted.message),
            manifest: Some(files.manifest().clone()),
        };
        let (progress, mut moved) = watch::channel(0);
        let (failure, mut failed) = tokio::sync::oneshot::channel();
        let chunks = read(files);
        let frames = Frames { sender: self, open: Some(open), chunks, progress, failure: Some(failure), ended: false };
        let frames = futures::stream::unfold(frames, Frames::next);
        tokio::select! {
            reply = client.snapshot(frames) => {
                if let Ok(error) = failed.try_recv() {
                    return Err(error.into());
                }
                let reply = reply?.into_inner();
                if reply.accepted { Ok(()) } else { Err(SendError::Refused(reply.message)) }
            }
            () = stalled(&mut moved) => Err(SendError::Stalled),
        }
    }
}

/// Reads the chunks on a thread for that, a few ahead. It ends when nobody takes them any more.
fn read(files: Arc<Exported>) -> mpsc::Receiver<Result<SnapshotChunk, SnapshotError>> {
    let (out, chunks) = mpsc::channel(READ_AHEAD);
    tokio::task::spawn_blocking(move || {
        for chunk in files.chunks() {
            if out.blocking_send(chunk).is_err() {
                return;
            }
        }
    });
    chunks
}

/// Returns when nothing moved for too long; after the last frame, the answer has as long.
async fn stalled(moved: &mut watch::Receiver<u64>) {
    loop {
        match tokio::time::timeout(STALLED, moved.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return tokio::time::sleep(STALLED).await,
            Err(_) => return,
        }
    }
}

impl Frames {
    async fn next(mut self) -> Option<(SnapshotFrame, Self)> {
        if self.ended {
            return None;
        }
        self.progress.send_modify(|frames| *frames += 1);
        if let Some(open) = self.open.take() {
            return Some((frame(Frame::Open(open)), self));
        }
        match self.chunks.recv().await {
            Some(Ok(chunk)) => {
                self.wait(chunk.data.len()).await;
                Some((frame(Frame::Chunk(chunk)), self))
            }
            Some(Err(error)) => {
                // The stream ends without `done`, so the receiver refuses it.
                if let Some(failure) = self.failure.take() {
                    let _ = failure.send(error);
                }
                None
            }
            None => {
                self.ended = true;
                Some((frame(Frame::Done(SnapshotDone {})), self))
            }
        }
    }

    /// Waits for the bytes' turn. Waiting on purpose counts as moving.
    async fn wait(&self, bytes: usize) {
        let mut left = self.sender.pace.reserve(bytes as u64, Instant::now());
        while !left.is_zero() {
            let part = left.min(Duration::from_secs(1));
            tokio::time::sleep(part).await;
            left -= part;
            self.progress.send_modify(|frames| *frames += 1);
        }
    }
}

fn frame(frame: Frame) -> SnapshotFrame {
    SnapshotFrame { frame: Some(frame) }
}
