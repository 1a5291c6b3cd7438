//! The store: all Raft groups of a node as one pure machine.
//!
//! ```text
//!            Event                                   Actions
//!  tick ───────────┐                          ┌──► publish   who leads, until when reads may trust it
//!  message ────────┤                          ├──► sends     may leave at once
//!  propose, read ──┼──► handle ──► drain ─────┼──► persist   one batch and one sync for all groups
//!  persisted ──────┤    (many)    (once)      ├──► applies   committed entries, in order
//!  applied ────────┤                          ├──► fetches   old entries for slow followers
//!  fetched, … ─────┘                          └──► answers   what callers asked
//! ```
//!
//! It has no IO, no clock and no randomness of its own: time comes with each event, the seed with the configuration.
//! So the node's drivers and the simulation drive the very same code. It must not know RocksDB, gRPC, tokio, nor what
//! is in an entry's data. Only this crate imports `raft`.

// rust-protobuf's types have hidden fields, so they can only be filled in one by one.
#![allow(clippy::field_reassign_with_default)]

mod action;
mod config;
mod convert;
mod event;
mod group;
mod lease;
mod logger;
mod membership;
mod memlog;
mod packs;
mod pauses;
mod retain;
mod rng;
mod standstill;
mod store;
mod walk;

pub use action::{
    Actions, Answer, Append, Apply, ApplyEntry, Fetch, Install, Lane, LostLog, MembershipChange, Persist, PersistItem,
    Published, Role, Send, SendSnapshot,
};
pub use config::{Config, Retention};
pub use event::{Event, Founding, Recovered, SnapshotMade, Ticket};
pub use standstill::{At, Remedy, Stands, Standstill, StandstillTicks};
pub use store::Store;
pub use walk::{Member, Progress, Walk, WalkView, walk};
