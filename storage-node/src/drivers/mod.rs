//! The IO around the pure store: one thread that steps it, one that writes the log, one that applies, one that reads
//! old entries and makes snapshots, one that makes applied state durable. Knows the store and the engine; must not know
//! gRPC or where other nodes live.
//!
//! ```text
//!  services, peers ─► StoreHandle ─► store thread ─┬─► log writer ── Persisted ──┐
//!                         ▲                        ├─► applier ──── Applied ─────┤
//!                         │ answers                ├─► worker ───── Fetched, … ──┤
//!                         └────────────────────────┤                             │
//!                                                  └─► Outbound (transport)      │
//!                                   ▲────────────────────────────────────────────┘
//! ```
//! Completions come back on a queue that is always read; new work comes on one that is read only while the log writer
//! and the applier have room (`pressure`). Nothing here retries a failed write: the node stops (`fatal`). A thread of its own
//! looks whether all of them go on (`watch`, by `meters`) and says so (`health`).

mod applied;
mod applier;
pub mod clock;
mod fatal;
mod flusher;
mod handle;
mod health;
mod inbox;
mod log_writer;
mod marks;
mod meters;
mod pressure;
mod published;
mod recovery;
mod replicas;
mod start;
mod store_thread;
mod unhurried;
mod watch;
mod worker;

pub use applied::AppliedTable;
pub use handle::{Applied, Limits, ReadPass, StoreError, StoreHandle, remaining};
pub(crate) use handle::{Reply, StoreInput, Waiters};
pub use health::{Health, HealthSample};
pub use inbox::{Inbox, SnapshotInbox};
pub use log_writer::LogWriter;
pub use marks::{Found, Marked, Marks};
pub use meters::{Fault, InjectedFault};
pub(crate) use published::Board;
pub use recovery::RecoveryError;
pub use start::{Drivers, Prepared, Settings, start};

use std::sync::Arc;

use granary_common::NodeId;
use granary_duties::standing::Work;
use granary_engine::snapshot::Exported;
use granary_store::{Send, SendSnapshot};

/// A lane to a node; true: that of heartbeats.
pub type LaneTo = (NodeId, bool);

/// Where the store's messages go. Never blocks; may drop messages (never anything else), and then tells the store by
/// [`granary_store::Event::Unreachable`].
pub trait Outbound: std::marker::Send + Sync + 'static {
    /// Messages in order, a lane and a node.
    fn send(&self, sends: Vec<Send>);

    /// Streams the files, then the message; `done` is called once with whether the receiver took it over.
    fn send_snapshot(
        &self,
        wanted: SendSnapshot,
        files: Arc<Exported>,
        done: Box<dyn FnOnce(bool) + std::marker::Send>,
    );

    /// How the queues to other nodes go on, for the watchdog; `None`: not known now. Waits for nothing.
    fn queues(&self) -> Option<Vec<(LaneTo, Work)>> {
        None
    }
}
