//! Reads all that lies on the disk, again and again, at a bounded pace.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use super::{first_delay, pause, scratch};
use crate::member::Member;

/// Bytes of one look at the tables of `data/`: as long as it lasts, files that the store has given up stay on the disk.
const LOOK: u64 = 1 << 30;

/// For the life of the node.
pub(super) async fn run(member: Arc<Member>) {
    let Some(interval) = member.options.scrub_interval() else { return };
    tokio::time::sleep(first_delay(interval)).await;
    loop {
        let of_thread = member.clone();
        // It ends with the process only.
        let _ = tokio::task::spawn_blocking(move || pass(&of_thread)).await;
        tokio::time::sleep(pause(interval)).await;
    }
}

fn pass(member: &Member) {
    let started = Instant::now();
    let (data, raft) = (check_data(member), check_raft(member));
    if data && raft {
        member.scrub.counts.passes.fetch_add(1, Relaxed);
        *member.scrub.finished.lock() = Some(Instant::now());
        tracing::debug!(
            seconds = started.elapsed().as_secs(),
            "all that is on the disk was read, and is as it was written"
        );
    }
}

/// Whether all of `data/` was read, and is right.
fn check_data(member: &Member) -> bool {
    let (counts, marks) = (&member.scrub.counts, &member.drivers.marks);
    let mut from = Some(Vec::new());
    while let Some(key) = from {
        if member.data.damage().is_some() {
            return false;
        }
        let mut pace = |bytes| {
            counts.data_bytes.fetch_add(bytes, Relaxed);
            marks.pace().pay(bytes);
        };
        match member.data.check_tables(&scratch(member), &key, LOOK, &mut pace) {
            Ok(checked) => from = checked.next,
            // Damage is remembered in the store, and `mend` looks there.
            Err(_) if member.data.damage().is_some() => return false,
            Err(error) => {
                tracing::warn!(%error, "the tables could not be checked; it is tried again");
                return false;
            }
        }
    }
    true
}

/// Whether all of `raft/` was read, and is right.
fn check_raft(member: &Member) -> bool {
    let (counts, marks) = (&member.scrub.counts, &member.drivers.marks);
    let mut pace = |bytes| {
        counts.raft_bytes.fetch_add(bytes, Relaxed);
        marks.pace().pay(bytes);
    };
    match member.raft.check_rows(&mut pace) {
        Ok(_) => true,
        Err(error) if error.is_damage() => {
            let mut known = member.scrub.raft_damage.lock();
            if known.is_none() {
                counts.damages.fetch_add(1, Relaxed);
                let what = "raft/ is damaged: it holds votes, so this node must be replaced; leaders move away";
                tracing::error!(%error, "{what}");
                member.meta.leave();
            }
            *known = Some(error.to_string());
            false
        }
        Err(error) => {
            tracing::warn!(%error, "the logs could not be checked; it is tried again");
            false
        }
    }
}
