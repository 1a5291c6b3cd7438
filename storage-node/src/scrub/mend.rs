//! What becomes of a damaged `data/`. It is known to the store, and noted for the next start, from the first moment on;
//! so leaders leave, and when the cluster can do without this node the process ends, to be started again. That start
//! copies what can be read and sets the old store aside; replicas of what cannot be read get a snapshot of their
//! groups. When all are whole again, what was set aside goes.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use granary_engine::{DiskSpace, remove_set_aside, stores_set_aside};
use granary_proto::{admin::CanStopRequest, map::ReplicaRole};

use crate::{member::Member, rhythm};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);
/// Between two questions whether the cluster can do without this node.
const ASK: Duration = Duration::from_secs(1);
/// Before a start that could do nothing is followed by another one.
const AGAIN: Duration = Duration::from_mins(10);
/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(5);

/// For the life of the node: waits for damage, then for the moment to end.
pub(super) async fn watch(member: Arc<Member>) {
    let known = member.data.damage().is_some();
    while member.data.damage().is_none() {
        rhythm::rest(LOOK).await;
    }
    member.scrub.counts.damages.fetch_add(1, Relaxed);
    member.meta.leave();
    if known {
        // This start could do nothing about it: the only copy is here, or there was too little room.
        *member.scrub.waits.lock() = Some("this start could not make it anew".into());
        tokio::time::sleep(AGAIN).await;
    }
    loop {
        match obstacle(&member).await {
            None => break,
            Some(why) => {
                let before = member.scrub.waits.lock().replace(why.clone());
                if before.as_ref() != Some(&why) {
                    tracing::warn!(why, "a damaged data/ is not made anew yet");
                }
            }
        }
        tokio::time::sleep(ASK).await;
    }
    *member.scrub.waits.lock() = None;
    tracing::warn!("this process ends, so that its next start makes the damaged data/ anew");
    member.scrub.restart.cancel();
}

/// Why this is not the moment to end.
async fn obstacle(member: &Member) -> Option<String> {
    let voters = |state: &granary_store::Published| {
        state.group.replicas.iter().filter(|replica| replica.role() == ReplicaRole::Voter).count()
    };
    if let Some(alone) = member.store.all_published().iter().find(|state| voters(state) < 2) {
        return Some(format!("{} has no other voter", alone.shard));
    }
    let wanted = member.data.table_bytes() / 10 * 11;
    match DiskSpace::of(&member.options.data) {
        Ok(space) if space.free > wanted => {}
        Ok(space) => return Some(format!("it takes {wanted} bytes of disk, and {} are free", space.free)),
        Err(error) => return Some(error.to_string()),
    }
    let leader = member.meta.meta_leader().filter(|leader| *leader != member.id());
    let Some(mut admin) = leader.and_then(|leader| member.peers.admin_client(leader)) else {
        return Some("no other node is known to lead the meta shard".into());
    };
    let question = admin.can_stop(CanStopRequest { node_id: member.id().0 });
    match tokio::time::timeout(LIMIT, question).await {
        Ok(Ok(answer)) => {
            let answer = answer.into_inner();
            (!answer.allowed).then(|| answer.reasons.first().cloned().unwrap_or_else(|| "it is needed".into()))
        }
        Ok(Err(status)) => Some(status.message().to_owned()),
        Err(_) => Some("the meta shard's leader does not answer".into()),
    }
}

/// Waits until all replicas here are whole again, and removes what was set aside.
pub(super) async fn finish(member: Arc<Member>) {
    let root = &member.options.data;
    if stores_set_aside(root).is_ok_and(|found| found.is_empty()) {
        *member.scrub.remade.lock() = None;
        return;
    }
    let started = Instant::now();
    // All of them twice in a row: replicas that are still to be made do not show.
    let mut whole = 0;
    while whole < 2 {
        rhythm::rest(LOOK).await;
        let complete = member.map.current().version > 0 && member.drivers.is_complete();
        whole = if complete && not_whole(&member) == 0 { whole + 1 } else { 0 };
    }
    let root = root.clone();
    let removed = tokio::task::spawn_blocking(move || remove_set_aside(&root)).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!(%error, "what was set aside of a damaged data/ stays");
    }
    *member.scrub.remade.lock() = None;
    tracing::info!(
        seconds = started.elapsed().as_secs_f32(),
        "every replica here is whole again: the damage is repaired"
    );
}

/// Replicas here that have not caught up.
pub(super) fn not_whole(member: &Member) -> usize {
    member.store.all_published().iter().filter(|state| !state.caught_up).count()
}
