//! One level of tests: what a cluster of real processes promises when its disks fail. Each node's data directory is below
//! a mount of the power-cut file system, which forgets what was not synced, tears it, stalls, fails, gets full and lies.
//!
//! `GRANARY_SEED` replays the choices of a test (what the processes make of them depends on their timing too),
//! `GRANARY_CUTS` says how often the power of all nodes is cut in the tests of `cuts` together (40 by default; with 100
//! and more the other tests do more as well). Figures go to `target/powercuts/report.json`. Needs root and /dev/fuse;
//! where they are missing it says so and skips, in CI it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cuts;
mod damage;
mod errors;
mod full;
mod lies;
mod load;
mod powered;
mod reads;
mod replaced;
mod report;
mod run;
mod stalls;
mod starts;
mod watchdog;
