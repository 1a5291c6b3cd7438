//! The IO around the pure store: one thread that steps it, one that writes the log, one that applies, and what they
//! need. Knows the store and the engine; must not know gRPC.

pub mod clock;
mod handle;
mod published;

pub use handle::{Applied, Limits, ReadPass, StoreError, StoreHandle, remaining};
pub(crate) use handle::{Reply, StoreInput, Waiters};
pub(crate) use published::Board;

use std::sync::Arc;

use granary_engine::ExportedSnapshot;
use granary_store::{Send, SendSnapshot};

/// Where the store's messages go. Never blocks; may drop messages (never anything else), and then tells the store by
/// [`granary_store::Event::Unreachable`].
pub trait Outbound: std::marker::Send + Sync + 'static {
    /// Messages in order, a lane and a node.
    fn send(&self, sends: Vec<Send>);

    /// Streams the files, then the message; `done` is called once with whether the receiver took it over.
    fn send_snapshot(&self, wanted: SendSnapshot, files: Arc<ExportedSnapshot>, done: Box<dyn FnOnce(bool) + std::marker::Send>);
}
