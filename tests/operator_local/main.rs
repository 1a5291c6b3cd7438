//! The reconcile loop with real processes on this machine: what a user does with `granary`, and what may happen to it.
//!
//! Each test has a directory of its own; when it ends, however it ends, no process below that directory is left.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod cli;
mod crash;
mod drain;
mod fixture;
mod foreign;
mod frozen;
mod lifecycle;
mod losses;
mod scale;
