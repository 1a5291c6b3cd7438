//! Takes in a snapshot: the manifest first, then its files in chunks, in order. Each chunk, each whole file and each
//! length is checked; when it is finished, all is synced and equal to what the sender has.

#[cfg(test)]
mod fuzz_tests;

use std::{fs::File, io::Write as _};

use granary_common::{META_SHARD, ShardId, SlotRange};
use granary_machine::shard;
use granary_proto::{
    raft::{SnapshotChunk, SnapshotManifest},
    storage::ShardState,
};
use prost::Message as _;

use super::{
    MAX_CHUNK, MAX_FILE_BYTES, MAX_FILES, SNAPSHOT_FORMAT, SnapshotError,
    staging::{StagingArea, StagingDirectory},
};
use crate::{FileError, files};

/// Bytes of a file that go to the disk at once.
const SYNC_EVERY: u64 = 1 << 20;

/// A snapshot that is coming in. Dropped before its end, it leaves nothing.
#[derive(Debug)]
pub struct Incoming {
    manifest: SnapshotManifest,
    state: ShardState,
    directory: StagingDirectory,
    /// Number of the file that is being written; as many as there are files when all have come.
    file: usize,
    open: Option<File>,
    offset: u64,
    checksum: u32,
}

/// A snapshot whose files have all come, were checked and are synced: ready to be installed.
#[derive(Debug)]
pub struct Received {
    pub(super) manifest: SnapshotManifest,
    pub(super) state: ShardState,
    pub(super) directory: StagingDirectory,
}

impl StagingArea {
    /// Begins to take in a snapshot. Refused are another cluster's, an unknown format, a manifest that contradicts
    /// itself, and one for which the disk has no room.
    pub fn receive(&self, manifest: SnapshotManifest) -> Result<Incoming, SnapshotError> {
        let state = check(&manifest, self.cluster_id())?;
        let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
        self.check_room(bytes)?;
        let directory = self.directory("in")?;
        Ok(Incoming { manifest, state, directory, file: 0, open: None, offset: 0, checksum: 0 })
    }
}

impl Incoming {
    /// Takes the next chunk. After an error the snapshot is of no use: drop it.
    pub fn chunk(&mut self, chunk: &SnapshotChunk) -> Result<(), SnapshotError> {
        let Some(file) = self.manifest.files.get(self.file) else {
            return Err(damaged("a chunk behind the last file".into()));
        };
        let (expected, bytes) = (file.crc32c, file.bytes);
        if (chunk.file as usize, chunk.offset) != (self.file, self.offset) {
            let (found, wanted) = ((chunk.file, chunk.offset), (self.file, self.offset));
            return Err(damaged(format!("chunk (file, offset) {found:?}, expected {wanted:?}")));
        }
        let length = chunk.data.len();
        if length == 0 || length > MAX_CHUNK || length as u64 > bytes - self.offset {
            let left = bytes - self.offset;
            return Err(damaged(format!("a chunk of {length} bytes, allowed are 1 to {}", left.min(MAX_CHUNK as u64))));
        }
        if crc32c::crc32c(&chunk.data) != chunk.crc32c {
            return Err(damaged(format!("checksum of the chunk at {} of file {}", chunk.offset, chunk.file)));
        }
        self.write(&chunk.data)?;
        if self.offset == bytes {
            if self.checksum != expected {
                return Err(damaged(format!("checksum of file {}", chunk.file)));
            }
            self.close()?;
        }
        Ok(())
    }

    /// Ends the snapshot: all files must have come. Syncs their directory.
    pub fn finish(self) -> Result<Received, SnapshotError> {
        if self.file != self.manifest.files.len() {
            let (have, all) = (self.file, self.manifest.files.len());
            return Err(damaged(format!("it ended after {have} of {all} files")));
        }
        files::sync_directory(self.directory.path())?;
        Ok(Received { manifest: self.manifest, state: self.state, directory: self.directory })
    }

    fn write(&mut self, data: &[u8]) -> Result<(), FileError> {
        let path = self.directory.file(self.file);
        let file = match &mut self.open {
            Some(file) => file,
            none => none.insert(File::create_new(&path).map_err(FileError::at("create", &path))?),
        };
        file.write_all(data).map_err(FileError::at("write", &path))?;
        self.offset += data.len() as u64;
        // Not all at the end: syncs of the log, for which clients wait, would stand behind it.
        if self.offset / SYNC_EVERY != (self.offset - data.len() as u64) / SYNC_EVERY {
            file.sync_data().map_err(FileError::at("sync", &path))?;
        }
        self.checksum = crc32c::crc32c_append(self.checksum, data);
        Ok(())
    }

    fn close(&mut self) -> Result<(), FileError> {
        if let Some(file) = self.open.take() {
            file.sync_all().map_err(FileError::at("sync", &self.directory.file(self.file)))?;
        }
        (self.file, self.offset, self.checksum) = (self.file + 1, 0, 0);
        Ok(())
    }
}

impl Received {
    /// What came.
    pub fn manifest(&self) -> &SnapshotManifest {
        &self.manifest
    }

    /// The shard's state in it.
    pub fn state(&self) -> &ShardState {
        &self.state
    }
}

/// Checks a manifest by itself, and gives the state in it.
fn check(manifest: &SnapshotManifest, cluster_id: &str) -> Result<ShardState, SnapshotError> {
    if manifest.format != SNAPSHOT_FORMAT {
        return Err(refused("format", manifest.format, format!("this build knows {SNAPSHOT_FORMAT}")));
    }
    if manifest.cluster_id != cluster_id {
        return Err(refused("cluster_id", &manifest.cluster_id, format!("this node is of {cluster_id}")));
    }
    if manifest.files.len() > MAX_FILES {
        return Err(refused("the number of files", manifest.files.len(), format!("allowed are {MAX_FILES}")));
    }
    for file in &manifest.files {
        if file.bytes == 0 || file.bytes > MAX_FILE_BYTES {
            return Err(refused("a file's bytes", file.bytes, format!("allowed are 1 to {MAX_FILE_BYTES}")));
        }
    }
    if crc32c::crc32c(&manifest.shard_state) != manifest.shard_state_crc32c {
        return Err(damaged("checksum of the shard's state".into()));
    }
    let state = ShardState::decode(manifest.shard_state.clone())
        .map_err(|error| damaged(format!("the shard's state cannot be decoded: {error}")))?;
    let of_state = (state.shard_id, state.applied_index, state.applied_term, state.range);
    let of_manifest = (manifest.shard_id, manifest.applied_index, manifest.applied_term, manifest.range);
    if of_state != of_manifest {
        return Err(refused("shard_state", format!("{of_state:?}"), format!("the manifest says {of_manifest:?}")));
    }
    let range = shard::range(&state);
    let owns_slots = range.start < range.end && range.end <= granary_common::SLOTS;
    let is_meta = ShardId(state.shard_id) == META_SHARD;
    if (is_meta && range != SlotRange::NONE) || (!is_meta && !owns_slots) {
        return Err(refused("range", range, "a data shard owns slots below 16384, the meta shard none".into()));
    }
    Ok(state)
}

fn refused(field: &'static str, value: impl ToString, allowed: String) -> SnapshotError {
    SnapshotError::Refused { field, value: value.to_string(), allowed }
}

fn damaged(what: String) -> SnapshotError {
    SnapshotError::Damaged(what)
}
