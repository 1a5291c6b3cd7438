//! Gives the space of deleted rows back while the disk is nearly full. RocksDB does so by itself only when more is written,
//! and a node that takes no writes would wait for that for ever.

use std::{sync::Arc, time::Duration};

use granary_engine::{DiskSpace, StoreKind};

use crate::member::Member;

/// How often it is looked whether there is something to gain.
const LOOK: Duration = Duration::from_secs(2);
/// Files must be so many times as large as what lives in them: merging them for less gains little and wears the disk.
const WORTH: u64 = 2;

/// What is known of one store.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Bytes of its tables.
    tables: u64,
    /// Bytes of the rows that live, at most; `None`: not known.
    live: Option<u64>,
    /// Bytes of its tables behind the last merge.
    merged: u64,
}

/// Whether a store's tables shall be merged with `free` bytes on the disk: what lives must fit there once more.
fn is_worth(sizes: Sizes, free: u64) -> bool {
    let needed = sizes.live.unwrap_or(sizes.tables).min(sizes.tables);
    let gains = match sizes.live {
        Some(live) => sizes.tables >= live.saturating_mul(WORTH),
        // Only what came since the last merge can be dead.
        None => sizes.tables >= sizes.merged.saturating_mul(WORTH),
    };
    sizes.tables > 0 && gains && needed < free
}

/// For the life of the node.
pub(super) async fn run(member: Arc<Member>) {
    let mut merged = [0, 0];
    loop {
        tokio::time::sleep(LOOK).await;
        if !member.space.is_read_only() {
            continue;
        }
        for (store, merged) in [StoreKind::Raft, StoreKind::Data].into_iter().zip(&mut merged) {
            let at = member.clone();
            let before = *merged;
            let done = tokio::task::spawn_blocking(move || merge(&at, store, before));
            if let Ok(Some(tables)) = done.await {
                *merged = tables;
            }
        }
    }
}

/// The bytes of the store's tables behind it; `None`: there was nothing to gain.
fn merge(member: &Member, store: StoreKind, merged: u64) -> Option<u64> {
    let free = DiskSpace::of(&member.options.data).ok()?.free;
    let (tables, live) = match store {
        StoreKind::Raft => (member.raft.table_bytes(), None),
        StoreKind::Data => {
            let live = member.drivers.applied.all().iter().map(|(_, at)| at.bytes).sum();
            (member.data.table_bytes(), Some(live))
        }
    };
    if !is_worth(Sizes { tables, live, merged }, free) {
        return None;
    }
    match store {
        StoreKind::Raft => member.raft.compact(),
        StoreKind::Data => member.data.compact(),
    }
    let after = match store {
        StoreKind::Raft => member.raft.table_bytes(),
        StoreKind::Data => member.data.table_bytes(),
    };
    tracing::info!(%store, before = tables, after, "merged the tables of a store, for the disk is nearly full");
    // An empty store is not looked at again for nothing.
    Some(after.max(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn tables_are_merged_when_half_of_them_is_dead_and_the_rest_fits() {
        let data = |tables, live| Sizes { tables: tables * MIB, live: Some(live * MIB), merged: 0 };
        assert!(is_worth(data(40, 5), 10 * MIB));
        assert!(!is_worth(data(40, 30), 100 * MIB), "nothing to gain");
        assert!(!is_worth(data(40, 15), 10 * MIB), "no room for what lives");
        let log = |tables, merged| Sizes { tables: tables * MIB, live: None, merged: merged * MIB };
        assert!(is_worth(log(9, 0), 10 * MIB) && !is_worth(log(11, 0), 10 * MIB), "all of it may live");
        assert!(!is_worth(log(9, 5), 10 * MIB) && !is_worth(log(0, 0), 10 * MIB));
    }
}
