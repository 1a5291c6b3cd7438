//! The operator on Kubernetes: which StorageClusters there are, a loop of rounds for each, and what is told of them.
//!
//! ```text
//! run ─► lease ─► clusters ─► a loop for each ─► round ─► reconcile (observe, plan, apply, report)
//!                    ▲                             ├─► deletion, conflict   before the plan
//!          watches ──┘                             └─► status_writer, events, metrics   after it
//! ```
//!
//! Knows neither shards nor pods: what is done is decided by the planner and done by the substrate.
//!
//! Clusters have loops of their own rather than turns in one queue: each remembers what it saw last, goes at its own
//! pace, is cut off when a round takes too long, and ends with its object.

mod announce;
mod clusters;
mod conflict;
mod context;
mod deletion;
mod events;
#[cfg(test)]
mod fake_api;
mod http;
mod lease;
pub mod logs;
mod metrics;
pub mod options;
mod pace;
mod present;
pub mod probe;
mod round;
pub mod run;
mod status_diff;
mod status_writer;
mod unreadable;
