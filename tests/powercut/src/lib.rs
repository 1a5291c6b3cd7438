//! A FUSE file system for tests that forgets what was not synced when its power is cut.
//!
//! A test mounts one disk for each node, lets the nodes work, and cuts the power of all at once:
//!
//! ```no_run
//! use granary_powercut::{Handle, Options, PowerCutFs, Tear};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = std::path::PathBuf::new();
//! let a = PowerCutFs::mount(&dir.join("a.disk"), &dir.join("a"), Options::default())?;
//! let b = PowerCutFs::mount(&dir.join("b.disk"), &dir.join("b"), Options::default())?;
//! // ... nodes write below a.mountpoint() and b.mountpoint(); then, with a seed that the test prints:
//! Handle::cut_all(&[&a, &b], Tear::Mixed, 7)?;
//! // ... kill the nodes: every request gets EIO now; then turn the power on, and start them again:
//! a.remount()?;
//! b.remount()?;
//! # Ok(())
//! # }
//! ```
//!
//! What is durable, strictly by POSIX: a file's bytes and length after an `fsync` of the file; a name after an `fsync` of
//! its directory, and nothing else. Any of the rest may survive ([`Tear`]). Permission bits do not outlive a cut, owners,
//! symbolic links and extended attributes there are none.
//!
//! The kernel serves `flock` and locks of ranges by itself. Reads that its cache can answer do not reach the disk.
//!
//! Layers: `model` (pure), `store` (the backing directory), `disk` (one mount between two cuts), `life` and `parked`
//! (threads), `fuse` and `mounting` (the kernel), `handle` (the test's hand on it).

mod counts;
mod disk;
mod fuse;
mod handle;
mod life;
mod model;
mod mounting;
mod parked;
mod rules;
mod store;

pub use rustix::io::Errno;

pub use crate::{
    counts::{Counts, OTHER},
    disk::{CutReport, Damage, DamageError, DamageKind, Unsynced, damage_at_rest, durable_files},
    handle::{Handle, Options, PowerCutError, PowerCutFs},
    model::{
        after_cut::{Fate, NoTear, SECTOR, Tear},
        faults::{Effect, Fault, FaultId, Operation},
        glob::Glob,
    },
    mounting::{available, available_or_skip, unmount_left_behind},
    rules::Lie,
    store::StoreError,
};
