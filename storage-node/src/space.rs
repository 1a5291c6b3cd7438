//! How much room the disk has left, and what a node must not do for lack of it (HAZARDS H23). RocksDB needs room to go on
//! and to recover: a write that fails ends the process. So a node holds back in steps, each before the next:
//!
//! | free space below | what the node does not do |
//! | --- | --- |
//! | `read_only_below` | take writes that need space; other leaders count it as full ([`blocks_quorum`]) |
//! | `full_below` | take large appends of other leaders: they are dropped, as if the network had, and sent again |
//! | `exhausted_below` | take any append |
//!
//! A start for which there is no room waits until there is more, see `node/open`. Reads, deletes, votes and heartbeats go on. Everything ends by itself when there is more room. Knows no other part.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use granary_engine::{DiskSpace, FileError};
use parking_lot::RwLock;

use crate::rhythm;

/// How often the disk is asked, which costs some us: often while it fills, for a burst may write some hundred MB a second; and
/// so often at rest that a third of the reserve at most is gone before a burst is seen. Of a disk with less than the whole reserve, always.
const PAUSES: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(250));
/// Bytes by which a disk changes that is at rest.
const LITTLE: u64 = 1 << 20;
/// Room that is kept in any case, in bytes, on a disk of two and a half times as much and more; on a smaller one, two fifths of
/// it. What comes in before all nodes know of a full one must fit into it, and what RocksDB needs to merge its files: as much
/// as all rows take.
const RESERVE: u64 = 256 << 20;
/// Bytes of entries up to which an append counts as small: deletes, and the first entry of a new leader.
const SMALL_APPEND: usize = 4 << 10;

/// The bounds, in bytes of free space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Below this no write is taken that needs space.
    pub read_only_below: u64,
    /// From this on they are taken again.
    pub writable_from: u64,
    /// Below this large appends of others are dropped.
    pub full_below: u64,
    /// Below this all are.
    pub exhausted_below: u64,
}

impl Marks {
    /// For a disk of `total` bytes: what the percentages of used space say, and no less than the reserve.
    pub fn of(total: u64, read_only_at_percent: u8, writable_at_percent: u8) -> Self {
        let free_at = |used_percent: u8| total / 100 * u64::from(100 - used_percent.min(100));
        let reserve = RESERVE.min(total / 5 * 2);
        let read_only_below = free_at(read_only_at_percent).max(reserve);
        let full_below = reserve / 2;
        Self {
            read_only_below,
            writable_from: free_at(writable_at_percent).max(read_only_below + reserve / 4),
            full_below,
            exhausted_below: reserve / 16,
        }
    }

    /// Whether writes that need space shall be refused with so much free, given whether they are now.
    fn is_read_only(&self, now: bool, free: u64) -> bool {
        if now { free < self.writable_from } else { free < self.read_only_below }
    }

    /// Whether an append with `bytes` of entries may be taken with so much free.
    fn admits(&self, free: u64, bytes: usize) -> bool {
        bytes == 0 || free >= self.full_below || (bytes <= SMALL_APPEND && free >= self.exhausted_below)
    }
}

/// Whether a shard with these voters can be without the room that a write needs: those that are not full are no majority.
pub fn blocks_quorum(mut voters: impl Iterator<Item = u64>, full: &BTreeSet<u64>) -> bool {
    let (all, with_room) = voters
        .by_ref()
        .fold((0, 0), |(all, with_room), voter| (all + 1, with_room + usize::from(!full.contains(&voter))));
    all > 0 && with_room < all / 2 + 1
}

/// What is known of the disk, shared by all who must hold back. Until it was asked it counts as empty.
#[derive(Debug, Default)]
pub struct Space {
    /// Of the last look; 0 total: never.
    free: AtomicU64,
    read_only: AtomicBool,
    marks: RwLock<Option<Marks>>,
}

impl Space {
    /// Whether writes that need space are refused.
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    /// Whether an append of another leader with `bytes` of entries may be taken.
    pub fn admits(&self, bytes: usize) -> bool {
        let marks = *self.marks.read();
        marks.is_none_or(|marks| marks.admits(self.free.load(Ordering::Relaxed), bytes))
    }

    /// Until the next look, given the last pause and what was free before it.
    fn pause(&self, last: Duration, before: u64) -> Duration {
        let is_large = self.marks.read().is_some_and(|marks| marks.full_below >= RESERVE / 2);
        let (shortest, longest) = if is_large { PAUSES } else { (PAUSES.0, PAUSES.0) };
        match self.free.load(Ordering::Relaxed).abs_diff(before) {
            ..=LITTLE => (last * 2).min(longest),
            _ => shortest,
        }
    }

    /// Takes a look's result over; says whether the node turned read-only or writable by it.
    fn note(&self, space: &DiskSpace, marks: Marks) -> bool {
        let before = self.is_read_only();
        let now = marks.is_read_only(before, space.free);
        self.free.store(space.free, Ordering::Relaxed);
        *self.marks.write() = Some(marks);
        self.read_only.store(now, Ordering::Relaxed);
        now != before
    }
}

/// Looks at the disk of `path` for ever; `marks` gives the bounds by its size in bytes.
pub(crate) async fn watch(path: PathBuf, marks: impl Fn(u64) -> Marks + Send + 'static, space: Arc<Space>) {
    let (mut pause, mut known) = (PAUSES.0, true);
    loop {
        match pause < PAUSES.1 {
            true => tokio::time::sleep(pause).await,
            false => rhythm::rest(pause).await,
        }
        let before = space.free.load(Ordering::Relaxed);
        match look(&path, &marks, &space) {
            Ok(()) => known = true,
            Err(error) if known => {
                known = false;
                tracing::warn!(%error, "the space of the disk is not known");
            }
            Err(_) => {}
        }
        pause = space.pause(pause, before);
    }
}

fn look(path: &Path, marks: impl Fn(u64) -> Marks, space: &Space) -> Result<(), FileError> {
    let seen = DiskSpace::of(path)?;
    if space.note(&seen, marks(seen.total)) {
        let (free_mib, total_mib) = (seen.free >> 20, seen.total >> 20);
        let now = if space.is_read_only() { "read-only: its disk is nearly full" } else { "writable again" };
        tracing::warn!(free_mib, total_mib, "the node is {now}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn a_large_disk_goes_by_percent_and_a_small_one_keeps_two_fifths() {
        let large = Marks::of(100 * GIB, 95, 93);
        assert_eq!((large.read_only_below, large.full_below), (5 * GIB, 128 * MIB));
        assert_eq!(large.writable_from, 7 * GIB);
        let small = Marks::of(40 * MIB, 95, 93);
        assert_eq!((small.read_only_below, small.writable_from), (16 * MIB, 20 * MIB));
        assert_eq!((small.full_below, small.exhausted_below), (8 * MIB, MIB));
    }

    #[test]
    fn the_node_turns_read_only_at_one_mark_and_writable_at_a_higher_one() {
        let marks = Marks::of(100 * MIB, 60, 50);
        assert!(!marks.is_read_only(false, 40 * MIB) && marks.is_read_only(false, 40 * MIB - 1));
        assert!(marks.is_read_only(true, 45 * MIB), "between the marks nothing changes");
        assert!(!marks.is_read_only(true, 50 * MIB));
    }

    #[test]
    fn a_disk_that_fills_is_asked_often_and_one_at_rest_ever_more_seldom() {
        let space = Space::default();
        let free = |free| space.free.store(free, Ordering::Relaxed);
        let (shortest, longest) = PAUSES;
        *space.marks.write() = Some(Marks::of(100 * MIB, 95, 93));
        free(40 * MIB);
        assert_eq!(space.pause(shortest, 40 * MIB), shortest, "a small disk");
        *space.marks.write() = Some(Marks::of(100 * GIB, 95, 93));
        assert_eq!(space.pause(shortest, 40 * MIB), 2 * shortest);
        assert_eq!(space.pause(longest, 41 * MIB), longest);
        assert_eq!(space.pause(longest, 41 * MIB + 1), shortest);
        assert_eq!(space.pause(longest, 30 * MIB), shortest, "also where it empties");
    }

    #[test]
    fn appends_are_dropped_large_ones_first_and_heartbeats_never() {
        let marks = Marks::of(40 * MIB, 95, 93);
        let admits = |free, bytes| marks.admits(free, bytes);
        assert!(admits(8 * MIB, 1 << 20));
        assert!(!admits(8 * MIB - 1, 1 << 20) && admits(8 * MIB - 1, 100));
        assert!(!admits(MIB - 1, 100) && admits(0, 0));
        assert!(Space::default().admits(1 << 20), "a disk that was not asked yet");
    }

    #[test]
    fn a_shard_is_blocked_when_its_voters_with_room_are_no_majority() {
        let blocked = |voters: &[u64], full: &[u64]| {
            blocks_quorum(voters.iter().copied(), &full.iter().copied().collect::<BTreeSet<_>>())
        };
        assert!(!blocked(&[1, 2, 3], &[2]));
        assert!(blocked(&[1, 2, 3], &[2, 3]));
        assert!(!blocked(&[1, 2, 3, 4, 5], &[2, 3]) && blocked(&[1, 2, 3, 4, 5], &[2, 3, 5]));
        assert!(blocked(&[1], &[1]) && !blocked(&[], &[1]));
    }
}
