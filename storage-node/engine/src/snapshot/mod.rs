//! Snapshots of a shard as files: made from one RocksDB snapshot, received chunk by chunk and checked, installed at once.
//!
//! It must not know how files travel, nor when a snapshot is due.

mod error;
mod export;
mod install;
mod receive;
mod staging;
#[cfg(test)]
mod tests;

pub use error::SnapshotError;
pub(crate) use export::export_view;
pub use export::{Chunks, Exported, export};
pub use install::{InstallStep, install, install_stepwise};
pub use receive::{Incoming, Received};
pub use staging::StagingArea;

/// Format of manifests and files that this build writes and takes.
pub const SNAPSHOT_FORMAT: u32 = 1;
/// Size at which a file ends and the next begins, in bytes; a file is longer by at most a row.
pub const FILE_BYTES: u64 = 64 << 20;
/// Longest file that is taken in, in bytes.
pub const MAX_FILE_BYTES: u64 = 2 * FILE_BYTES;
/// Most files of a snapshot that is taken in: with [`FILE_BYTES`] each, 1 TiB.
pub const MAX_FILES: usize = 16 * 1024;
/// Longest chunk of a file, in bytes.
pub const MAX_CHUNK: usize = 1 << 20;
