//! The graceful stop: leaders go away first, then the node says goodbye, then what was applied is made durable.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use granary_proto::{kv::kv_server::KvServer, map::ReplicaRole};
use granary_store::{Published, Role};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tonic_health::server::HealthReporter;

use super::Node;
use crate::{grpc::KvService, member::Member, rhythm};

/// How often it is looked whether leaders have left.
const LOOK: Duration = Duration::from_millis(20);
/// How often it is looked whether the node is ready.
const LOOK_AT_READY: Duration = Duration::from_millis(500);
/// Leaders that have not moved for this long will not: nobody can take them.
const STUCK: Duration = Duration::from_secs(2);
/// For answers under way to be written.
const LAST_ANSWERS: Duration = Duration::from_millis(100);

/// Notices SIGTERM and SIGINT from its making on: the first process of a container gets no signal that it does not catch.
pub(super) struct Signals(CancellationToken);

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let asked = CancellationToken::new();
        let noticed = asked.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            noticed.cancel();
        });
        Ok(Self(asked))
    }

    /// Waits until one of them has come.
    pub(super) async fn asked(&self) {
        self.0.cancelled().await;
    }
}

/// Whether another voter could take the shard over.
fn could_leave(state: &Published) -> bool {
    let voters = state.group.replicas.iter().filter(|replica| replica.role() == ReplicaRole::Voter);
    state.role == Role::Leader && voters.count() > 1
}

pub(super) async fn gracefully(node: &Arc<Node>) {
    let started = Instant::now();
    // Not ready from now on, so that new clients go elsewhere, and still serving those that are here.
    node.asked_to_stop.store(true, Ordering::Relaxed);
    if let Some(member) = node.member() {
        move_leaders_away(member, node.options.graceful()).await;
    }
    node.stopping.cancel();
    tokio::time::sleep(LAST_ANSWERS).await;
    if let Some(member) = node.member() {
        member.peers.say_goodbye().await;
        tokio::task::block_in_place(|| member.drivers.stop());
    }
    tracing::info!(seconds = started.elapsed().as_secs_f32(), "stopped");
}

async fn move_leaders_away(member: &Member, limit: Duration) {
    let started = Instant::now();
    let count = || member.store.all_published().iter().filter(|state| could_leave(state)).count();
    let mut left = count();
    let (mut least, mut moved_at) = (left, started);
    tracing::info!(leaders = left, "stopping: leaders move away first");
    member.meta.leave();
    while left > 0 && started.elapsed() < limit && moved_at.elapsed() < STUCK {
        tokio::time::sleep(LOOK).await;
        let now = count();
        // Fewer than ever before: nodes that all stop at once hand the same leaders round and round.
        if now < least {
            least = now;
            moved_at = Instant::now();
        }
        left = now;
    }
    if left > 0 {
        tracing::warn!(leaders = left, "these leaders stay: no other voter took them; their shards elect anew");
    }
}

/// Keeps the answer of the gRPC health service equal to `/readyz`.
pub(super) async fn report_health(node: Arc<Node>, reporter: HealthReporter) {
    loop {
        match node.check_ready() {
            Ok(()) => reporter.set_serving::<KvServer<KvService<Node>>>().await,
            Err(_) => reporter.set_not_serving::<KvServer<KvService<Node>>>().await,
        }
        rhythm::rest(LOOK_AT_READY).await;
    }
}
