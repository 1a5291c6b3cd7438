//! A whole cluster in one deterministic process and thread: nodes with the meta shard and data shards, clients, and the
//! operator's planner and reconcile loop, over a simulated network, simulated disks, clocks and processes. One seed gives
//! one run, byte for byte.
//!
//! The store, the machines, the duties of a node, the planner and the loop are the real ones. What is a thread, a file, a
//! socket or a process in the product is simulated here, as thinly as can be: [`node`] stands for the node's `drivers`,
//! `meta`, `admin` and `grpc`, [`operator`] for a substrate, [`clients`] for the client.
//!
//! Safety first: [`checks`] are asked at each step, and the clients' history at the end. Then the faults stop, and
//! everything must get finished within a stated time. A run whose announced [`faults`] did not happen fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "it is a test: it fails by panicking"
)]

pub mod checks;
pub mod clients;
pub mod disk;
pub mod faults;
pub mod network;
pub mod node;
pub mod operator;
pub mod place;
pub mod rng;
pub mod rows;
pub mod run;
pub mod tasks;
pub mod world;
