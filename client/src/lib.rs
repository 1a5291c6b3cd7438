//! The Rust client of Granary.
//!
//! ```text
//! Client ── checks, splits by shard ──► call (retries until the deadline)
//!                                         │   verdict: what an answer means, as data
//!                                         ▼
//!                       Directory (cluster map, leaders) ──► Link (one node) ──► Pipe (one stream)
//! ```
//!
//! Every write carries a number, so that the cluster applies it once however often it is sent. A caller gets an answer,
//! or an [`Error`] that says what is known: above all whether a write may have been applied.

mod attempt;
mod backoff;
mod batch;
mod call;
mod check;
mod client;
mod directory;
mod error;
mod link;
#[cfg(feature = "load")]
mod load;
mod options;
mod pipe;
mod routes;
mod scan;
mod types;
mod unanswered;
mod verdict;

pub use client::Client;
pub use error::Error;
pub use granary_proto::{kv::Row, map::ClusterMap};
pub use options::Options;
pub use scan::{Order, Scan};
pub use types::{Change, DeleteRange, Deleted, Expected, Guard, Part, Swapped, TxnOutcome, Value, Write};

/// What a call to the cluster gives.
pub type Result<T> = std::result::Result<T, Error>;
