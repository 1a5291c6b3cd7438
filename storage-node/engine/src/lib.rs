//! What a node keeps on its disk: the directory and the identity in it, the store of the Raft logs (`raft/`), the store
//! of the state machines (`data/`), and snapshots of shards as files.
//!
//! The only crate that knows RocksDB. It must not know Raft's rules, the wire, or what a command means: logs come as
//! [`granary_common::log`] entries, state as rows and [`granary_machine::Write`]s.
//!
//! Nothing here retries: the first failed write or sync of a store poisons it (HAZARDS H22), and the node stops.

mod damage;
pub mod data_store;
mod disk;
mod error;
mod files;
mod header;
mod identity;
mod options;
mod poison;
pub mod raft_store;
mod remake;
pub mod snapshot;
mod space;
#[cfg(test)]
mod testing;
mod watermark;

pub use data_store::DataStore;
pub use disk::{Disk, DiskError, DiskLock, Stores};
pub use error::{EngineError, StoreKind};
pub use files::FileError;
pub use identity::IDENTITY_FORMAT;
pub use options::EngineOptions;
pub use raft_store::{LogBatch, LogId, RaftStore};
pub use remake::{Remade, remove_set_aside, stores_set_aside};
pub use space::DiskSpace;
