//! One level of tests: what a cluster of real processes promises while nodes are killed, paused, wiped, copied and moved.
//! No operator runs: the tests make each change themselves, so that the fault comes when they say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod addresses;
mod copies;
mod crash;
mod minority;
mod moves;
mod reads;
mod removed;
mod rest;
mod scrub;
mod service;
mod snapshots;
mod soak;
mod stops;
mod watchdog;
