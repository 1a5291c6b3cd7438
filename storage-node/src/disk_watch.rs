//! Turns the node read-only before its disk is full: RocksDB needs room to recover (HAZARDS H23).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use granary_engine::DiskSpace;

use crate::options::Options;

/// How often the disk is asked.
const EVERY: Duration = Duration::from_secs(1);

/// Whether writes that need space shall be refused at this fill, given whether they are now.
pub(crate) fn is_read_only(now: bool, used_percent: u8, read_only_at: u8, writable_at: u8) -> bool {
    if now { used_percent > writable_at } else { used_percent >= read_only_at }
}

/// Asks for ever.
pub(crate) async fn watch(options: Arc<Options>, read_only: Arc<AtomicBool>) {
    let mut interval = tokio::time::interval(EVERY);
    loop {
        interval.tick().await;
        let space = match DiskSpace::of(&options.data) {
            Ok(space) => space,
            Err(error) => {
                tracing::warn!(%error, "the space of the disk is not known");
                continue;
            }
        };
        let used = used_percent(&space);
        let before = read_only.load(Ordering::Relaxed);
        let now = is_read_only(before, used, options.read_only_at_percent, options.writable_at_percent);
        if now != before {
            read_only.store(now, Ordering::Relaxed);
            tracing::warn!(used_percent = used, "the node is {}", if now { "read-only" } else { "writable again" });
        }
    }
}

fn used_percent(space: &DiskSpace) -> u8 {
    let used = space.total.saturating_sub(space.free);
    u8::try_from(used.saturating_mul(100) / space.total.max(1)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_turns_read_only_at_one_mark_and_writable_at_a_lower_one() {
        assert!(!is_read_only(false, 94, 95, 93));
        assert!(is_read_only(false, 95, 95, 93));
        assert!(is_read_only(true, 94, 95, 93), "between the marks nothing changes");
        assert!(!is_read_only(true, 93, 95, 93));
    }
}
