//! What goes between nodes: who they are and where, streams of messages, and snapshots.
//!
//! ```text
//!   store ─► Streams ─► a queue and a stream a lane and node ═══► Inbound ─► store
//!                  └──► SnapshotSender ═════ files, then message ═══► Inbound ─► staging/, inbox, store
//!   Peers: who is who (admission), who is where (discovery), one TCP connection a purpose (channels)
//! ```
//! Two nodes keep two lanes each way: heartbeats with their answers, and everything else; snapshots go beside them. Each
//! has a connection of its own, so that a heartbeat never waits behind data. Within a lane messages arrive in order, at
//! most once; any may be lost, and then the store is told that the node is unreachable.
//!
//! It must not know what a message means to Raft, nor what is in a snapshot's files. It looks only at who sends, who is
//! meant, and how heavy it is.

mod backoff;
mod channels;
mod discovery;
mod inbound;
mod outbound;
mod peers;
mod queue;
mod server;
mod snapshot_receive;
mod snapshot_send;
#[cfg(test)]
mod tests;
mod turns;
mod unreachable;
mod weight;

pub use channels::{CONNECTION_WINDOW, STREAM_WINDOW};
use granary_duties::admission;
pub use granary_duties::admission::{HEARD_WITHIN, Refusal};
pub use inbound::Inbound;
pub use outbound::Streams;
pub use peers::{MAX_KNOWN, Peers, PersistIncarnation};
pub use server::{InboundSlot, PeerService};

/// Bounds of what waits, and of what is under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of messages that wait for one node, without heartbeats; one message is always let in.
    pub append_bytes: usize,
    /// Bytes of heartbeats and their answers that wait for one node; one is always let in.
    pub heartbeat_bytes: usize,
    /// Bytes behind which a frame ends; one message is always sent.
    pub frame_bytes: usize,
    /// Snapshots sent at once; others wait.
    pub snapshot_sends: usize,
    /// Snapshots received at once; others are refused, and tried again by their senders.
    pub snapshot_receives: usize,
    /// Bytes a second of all snapshots sent together; 0: no bound.
    pub snapshot_bytes_per_second: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            append_bytes: 32 << 20,
            heartbeat_bytes: 1 << 20,
            frame_bytes: 1 << 20,
            snapshot_sends: 4,
            snapshot_receives: 4,
            snapshot_bytes_per_second: 0,
        }
    }
}
