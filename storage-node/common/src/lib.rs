//! What every part of Granary agrees on: ids, slots, limits, and the plain form of a log entry.
//!
//! A leaf: it knows no IO, no wire format and no library of consensus or storage.

mod ids;
pub mod limits;
pub mod log;
mod slot;

pub use ids::{META_SHARD, NodeId, ReplicaId, ShardId};
pub use slot::{SLOTS, SlotRange, crc16, routed_part, slot_of};
