//! The store in a small deterministic cluster: nodes, network, disks and clients in one thread, everything from one seed.
//!
//! `GRANARY_SEED=7 cargo test --release -p granary-store --test simulation` plays one run again; `GRANARY_SEEDS=5000`
//! plays more. It drives the store as the node's drivers do, and must not know anything of the store's inside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

mod checks;
mod cluster;
mod disk;
mod faults;
mod node;
mod rest;
mod rng;
mod scenarios;

#[test]
fn no_mix_of_faults_breaks_an_invariant_and_all_heal() {
    faults::run_all();
}
