//! What a test asks of a disk beyond storing: faults, lies, a size; and what it counts. It outlives cuts.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::{
    counts::Classes,
    model::{faults::Faults, glob::Glob},
};

/// Which syncs say that they are done, and do nothing. Such a disk breaks every promise: a checker has to catch it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lie {
    /// None: the disk is honest.
    #[default]
    Never,
    /// Syncs of files.
    Files,
    /// Syncs of directories.
    Directories,
    /// All.
    Always,
}

impl Lie {
    const EACH: [Self; 4] = [Self::Never, Self::Files, Self::Directories, Self::Always];

    /// Whether it is about files.
    pub fn of_files(self) -> bool {
        matches!(self, Self::Files | Self::Always)
    }

    /// Whether it is about directories.
    pub fn of_directories(self) -> bool {
        matches!(self, Self::Directories | Self::Always)
    }
}

/// The rules of one disk.
#[derive(Debug)]
pub struct Rules {
    /// Which requests fail or wait.
    pub faults: Mutex<Faults>,
    /// What was counted.
    pub classes: Mutex<Classes>,
    capacity: AtomicU64,
    lie: AtomicU8,
}

impl Rules {
    /// An honest disk without faults.
    pub fn new(classes: &[(String, Glob)], capacity: Option<u64>, seed: u64) -> Self {
        Self {
            faults: Mutex::new(Faults::new(seed)),
            classes: Mutex::new(Classes::new(classes)),
            capacity: AtomicU64::new(capacity.unwrap_or(u64::MAX)),
            lie: AtomicU8::new(0),
        }
    }

    /// Size of the disk in bytes; none: as much as there is under it.
    pub fn capacity(&self) -> Option<u64> {
        Some(self.capacity.load(Ordering::SeqCst)).filter(|capacity| *capacity != u64::MAX)
    }

    /// Sets the size.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.capacity.store(capacity.unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// What the disk lies about.
    pub fn lie(&self) -> Lie {
        Lie::EACH.get(usize::from(self.lie.load(Ordering::SeqCst))).copied().unwrap_or_default()
    }

    /// Sets what the disk lies about.
    pub fn set_lie(&self, lie: Lie) {
        self.lie.store(lie as u8, Ordering::SeqCst);
    }
}
