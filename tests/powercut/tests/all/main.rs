//! The file system, mounted: what POSIX promises, what a cut leaves, and every fault. Needs root and /dev/fuse.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test support: a failed step is the test's end"
)]

mod cuts;
mod damage;
mod faults;
mod files;
mod mounts;
mod names;
mod space;
mod speed;
mod support;
