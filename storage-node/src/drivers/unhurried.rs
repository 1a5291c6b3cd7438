//! Committed entries whose callers are elsewhere: followers apply them a moment later, many in one write. A write of RocksDB
//! costs much the same whatever is in it, and two of three replicas have nobody who waits.

use std::{
    mem,
    time::{Duration, Instant},
};

use granary_common::{META_SHARD, ShardId, log::EntryKind};
use granary_store::Apply;

/// How long they may wait for company.
const MAX_WAIT: Duration = Duration::from_millis(20);
/// Jobs behind which they do not wait any longer.
const MAX_JOBS: usize = 512;
/// Bytes of entries behind which they do not.
const MAX_BYTES: usize = 1 << 20;

/// What waits, in its order. Whatever touches the same replica takes it along first.
#[derive(Default)]
pub(crate) struct Unhurried {
    applies: Vec<Apply>,
    bytes: usize,
    since: Option<Instant>,
}

/// Whether nobody waits for it here: no caller, no map, no new leader for the first entry of its term, and no membership.
pub(crate) fn may_wait(apply: &Apply) -> bool {
    let of_nobody = |entry: &granary_store::ApplyEntry| {
        entry.tickets.is_empty() && entry.entry.kind == EntryKind::Normal && !entry.entry.data.is_empty()
    };
    apply.shard != META_SHARD && apply.entries.iter().all(of_nobody)
}

impl Unhurried {
    /// Puts it behind the others.
    pub(crate) fn push(&mut self, apply: Apply, bytes: usize) {
        self.since.get_or_insert_with(Instant::now);
        self.bytes += bytes;
        self.applies.push(apply);
    }

    /// When they must go at the latest; `None`: there are none.
    pub(crate) fn due(&self) -> Option<Instant> {
        let since = self.since?;
        Some(if self.applies.len() < MAX_JOBS && self.bytes < MAX_BYTES { since + MAX_WAIT } else { since })
    }

    /// Whether something of this shard waits.
    pub(crate) fn has(&self, shard: ShardId) -> bool {
        self.applies.iter().any(|apply| apply.shard == shard)
    }

    /// All of them, with their bytes.
    pub(crate) fn take(&mut self) -> (Vec<Apply>, usize) {
        self.since = None;
        (mem::take(&mut self.applies), mem::take(&mut self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use granary_common::{ReplicaId, log::Entry};
    use granary_store::ApplyEntry;

    use super::*;

    fn apply(shard: u32, data: &'static str, tickets: Vec<u64>) -> Apply {
        let entry = Entry { index: 6, term: 6, kind: EntryKind::Normal, data: data.into(), context: Bytes::new() };
        let entries = vec![ApplyEntry { entry, tickets, membership: None }];
        Apply { shard: ShardId(shard), replica: ReplicaId(7), entries }
    }

    #[test]
    fn only_commands_that_nobody_here_waits_for_may_wait() {
        assert!(may_wait(&apply(1, "command", vec![])));
        assert!(!may_wait(&apply(1, "command", vec![9])), "a caller waits");
        assert!(!may_wait(&apply(1, "", vec![])), "a new leader waits");
        assert!(!may_wait(&apply(0, "command", vec![])), "the map waits");
        let mut change = apply(1, "change", vec![]);
        change.entries[0].entry.kind = EntryKind::ConfChange;
        assert!(!may_wait(&change));
    }

    #[test]
    fn what_waits_is_due_soon_and_at_once_when_it_is_much() {
        let mut waits = Unhurried::default();
        assert_eq!(waits.due(), None);
        waits.push(apply(1, "a", vec![]), 10);
        assert!(waits.due().unwrap() > Instant::now());
        assert!(waits.has(ShardId(1)) && !waits.has(ShardId(2)));
        waits.push(apply(2, "b", vec![]), MAX_BYTES);
        assert!(waits.due().unwrap() <= Instant::now());
        let (applies, bytes) = waits.take();
        assert_eq!((applies.len(), bytes, waits.due()), (2, MAX_BYTES + 10, None));
    }
}
