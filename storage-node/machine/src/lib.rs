//! The state machines of a storage node: (view, command) -> (writes, answer).
//!
//! Pure: no IO, clock, randomness, Raft, RocksDB or threads. What an entry does depends on nothing but the entry and the
//! shard's rows, so that every replica that applies the same entries ends with the same rows. The engine around it
//! brings a [`View`] of the stored rows and writes what the [`Overlay`] gathered.
//!
//! - [`rows`]: how rows of the RocksDB instance `data/` are named and encoded.
//! - [`View`], [`Write`], [`Overlay`]: what is stored, and what shall be.
//! - [`kv`]: the machine of data shards. [`meta`]: the machine of the meta shard.
//! - [`shard`]: the state row every shard has, the meta shard as well.

pub mod errors;
pub mod kv;
pub mod meta;
mod overlay;
pub mod rows;
pub mod shard;
pub mod testing;
mod view;

pub use errors::ApplyError;
pub use overlay::Overlay;
pub use view::{View, ViewError, Visit, Write};
