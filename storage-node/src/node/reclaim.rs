//! Gives the space of deleted rows back while the disk is nearly full. RocksDB does so by itself only when more is written,
//! and a node that takes no writes would wait for that for ever.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use granary_engine::{DiskSpace, StoreKind};

use crate::{member::Member, rhythm};

/// How often it is looked whether there is something to gain.
const LOOK: Duration = Duration::from_secs(2);
/// Pauses between two merges of one store: the first, also behind one that gave a tenth of its space back, and the longest;
/// each that gave less doubles it.
const PAUSES: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(3600));

/// One of the two stores, as a merge sees it.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    /// Bytes of its tables.
    tables: u64,
    /// Bytes that were written to it since its opening.
    written: u64,
}

/// What is remembered of a store's last merge.
#[derive(Clone, Copy, Debug)]
struct Last {
    at: Option<Instant>,
    written: u64,
    pause: Duration,
}

impl Last {
    fn none() -> Self {
        Self { at: None, written: 0, pause: PAUSES.0 }
    }

    /// Whether a store is to be merged with `free` bytes on the disk: something was written since, as deletes are, and all
    /// that may live fits there once more.
    fn is_due(&self, now: Sizes, free: u64, at: Instant) -> bool {
        let rested = self.at.is_none_or(|last| at.saturating_duration_since(last) >= self.pause);
        rested && now.written > self.written && now.tables > 0 && now.tables < free
    }

    fn merged(&mut self, before: Sizes, after: Sizes, at: Instant) {
        let gained = before.tables.saturating_sub(after.tables) >= before.tables / 10;
        self.pause = if gained { PAUSES.0 } else { (self.pause * 2).min(PAUSES.1) };
        (self.at, self.written) = (Some(at), before.written);
    }
}

/// For the life of the node.
pub(super) async fn run(member: Arc<Member>) {
    let mut last = [Last::none(), Last::none()];
    loop {
        rhythm::rest(LOOK).await;
        if !member.space.is_read_only() {
            last = [Last::none(), Last::none()];
            continue;
        }
        for (store, last) in [StoreKind::Raft, StoreKind::Data].into_iter().zip(&mut last) {
            let (before, Ok(space)) = (sizes(&member, store), DiskSpace::of(&member.options.data)) else { continue };
            if !last.is_due(before, space.free, Instant::now()) {
                continue;
            }
            let of_thread = member.clone();
            let merge = move || match store {
                StoreKind::Raft => of_thread.raft.compact(),
                StoreKind::Data => of_thread.data.compact(),
            };
            // It ends with the process only.
            let _ = tokio::task::spawn_blocking(merge).await;
            let after = sizes(&member, store);
            last.merged(before, after, Instant::now());
            let (before, after) = (before.tables, after.tables);
            tracing::info!(%store, before, after, "merged the tables of a store, for the disk is nearly full");
        }
    }
}

fn sizes(member: &Member, store: StoreKind) -> Sizes {
    match store {
        StoreKind::Raft => Sizes { tables: member.raft.table_bytes(), written: member.raft.bytes_written() },
        StoreKind::Data => Sizes { tables: member.data.table_bytes(), written: member.data.bytes_written() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_merged_when_something_was_written_and_they_fit_once_more() {
        let (now, sizes) = (Instant::now(), |tables, written| Sizes { tables, written });
        let mut last = Last::none();
        assert!(last.is_due(sizes(40, 1), 41, now));
        assert!(!last.is_due(sizes(40, 1), 40, now), "no room");
        assert!(!last.is_due(sizes(40, 0), 41, now) && !last.is_due(sizes(0, 1), 41, now), "nothing to gain");
        last.merged(sizes(40, 1), sizes(5, 1), now);
        assert!(!last.is_due(sizes(5, 2), 41, now), "it rests");
        assert!(last.is_due(sizes(5, 2), 41, now + PAUSES.0));
        assert!(!last.is_due(sizes(5, 1), 41, now + PAUSES.1), "nothing was written since");
    }

    #[test]
    fn merges_that_gain_nothing_become_rare() {
        let (now, sizes) = (Instant::now(), |tables| Sizes { tables, written: 1 });
        let mut last = Last::none();
        for _ in 0..20 {
            last.merged(sizes(100), sizes(95), now);
        }
        assert_eq!(last.pause, PAUSES.1);
        last.merged(sizes(100), sizes(90), now);
        assert_eq!(last.pause, PAUSES.0);
    }
}
