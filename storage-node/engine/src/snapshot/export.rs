//! Makes a snapshot of a shard: all its rows as table files, and a manifest with its state. The one RocksDB snapshot is
//! taken first, and everything is read from inside it, the applied index too (HAZARDS H9).

use std::{
    fs::File,
    io::{self, Read},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use granary_common::ShardId;
use granary_machine::{rows::KeyRange, shard};
use granary_proto::raft::{SnapshotChunk, SnapshotFile, SnapshotManifest};
use prost::Message as _;
use rocksdb::{Options, SstFileWriter};

use super::{
    FILE_BYTES, MAX_CHUNK, SNAPSHOT_FORMAT, SnapshotError,
    staging::{StagingArea, StagingDirectory, file_name},
};
use crate::{
    DataStore, EngineError, EngineOptions, FileError,
    data_store::{SnapshotView, row_ranges, state_in},
    files,
};

/// Bytes of rows after which whoever exports may do something else.
const PIECE: u64 = 256 << 10;

/// Bytes of a file that go to the disk at once.
const SYNC_BYTES: u64 = 1 << 20;

/// A snapshot as files on this node. Its directory is removed when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Exported {
    manifest: SnapshotManifest,
    directory: Arc<StagingDirectory>,
}

/// Writes a snapshot of `shard` to `staging`. Other shards, and this one, may be written meanwhile. `between` is called
/// behind each 256 KiB of rows or a little more; it may take its time.
pub fn export(
    store: &DataStore,
    shard: ShardId,
    staging: &StagingArea,
    between: &mut dyn FnMut(),
) -> Result<Exported, SnapshotError> {
    let view = store.snapshot();
    if let Some(state) = state_in(&view, shard)? {
        staging.check_room(store.most_bytes(&state))?;
    }
    export_view(&view, shard, staging, FILE_BYTES, between)
}

/// As [`export`]; what it reads is in the view alone, so nothing newer can slip in.
pub(crate) fn export_view(
    view: &SnapshotView<'_>,
    shard: ShardId,
    staging: &StagingArea,
    file_bytes: u64,
    between: &mut dyn FnMut(),
) -> Result<Exported, SnapshotError> {
    let state = state_in(view, shard)?.ok_or(SnapshotError::NoShard(shard))?;
    let directory = staging.directory("out")?;
    let ranges = row_ranges(shard, shard::range(&state));
    let files = write_files(view, &ranges, &directory, file_bytes, between)?;
    files::sync_directory(directory.path())?;
    let shard_state = Bytes::from(state.encode_to_vec());
    let manifest = SnapshotManifest {
        format: SNAPSHOT_FORMAT,
        cluster_id: staging.cluster_id().to_owned(),
        shard_id: shard.0,
        applied_index: state.applied_index,
        applied_term: state.applied_term,
        range: state.range,
        files,
        shard_state_crc32c: crc32c::crc32c(&shard_state),
        shard_state,
    };
    Ok(Exported { manifest, directory: Arc::new(directory) })
}

impl Exported {
    /// What the files are, and the shard's state.
    pub fn manifest(&self) -> &SnapshotManifest {
        &self.manifest
    }

    /// Where its files are, in order.
    pub(crate) fn paths(&self) -> Vec<std::path::PathBuf> {
        (0..self.manifest.files.len()).map(|number| self.directory.file(number)).collect()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.manifest.files.iter().map(|file| file.bytes).sum()
    }

    /// All chunks in the order in which the receiver wants them. Reads from disk as it goes; ends after an error.
    pub fn chunks(&self) -> Chunks {
        Chunks { exported: self.clone(), file: 0, offset: 0, open: None }
    }
}

/// See [`Exported::chunks`].
#[derive(Debug)]
pub struct Chunks {
    exported: Exported,
    file: usize,
    offset: u64,
    open: Option<File>,
}

impl Iterator for Chunks {
    type Item = Result<SnapshotChunk, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.exported.manifest.files.get(self.file)?.bytes;
        let path = self.exported.directory.file(self.file);
        let chunk = self.read(&path, bytes.saturating_sub(self.offset));
        match &chunk {
            Ok(chunk) => {
                self.offset += chunk.data.len() as u64;
                if self.offset >= bytes {
                    (self.file, self.offset, self.open) = (self.file + 1, 0, None);
                }
            }
            Err(_) => self.file = usize::MAX,
        }
        Some(chunk)
    }
}

impl Chunks {
    fn read(&mut self, path: &Path, left: u64) -> Result<SnapshotChunk, SnapshotError> {
        let file = match &mut self.open {
            Some(file) => file,
            none => none.insert(File::open(path).map_err(FileError::at("open", path))?),
        };
        let mut data = vec![0; left.min(MAX_CHUNK as u64) as usize];
        file.read_exact(&mut data).map_err(FileError::at("read", path))?;
        let crc32c = crc32c::crc32c(&data);
        Ok(SnapshotChunk { file: self.file as u32, offset: self.offset, data: data.into(), crc32c })
    }
}

/// Writes all rows of the ranges (in order of key) to as many files as it takes, each synced.
fn write_files(
    view: &SnapshotView<'_>,
    ranges: &[KeyRange],
    directory: &StagingDirectory,
    file_bytes: u64,
    between: &mut dyn FnMut(),
) -> Result<Vec<SnapshotFile>, SnapshotError> {
    let options = EngineOptions::snapshot_files();
    let mut files = Files { options: &options, directory, file_bytes, current: None, finished: Vec::new() };
    let mut piece = 0;
    for range in ranges {
        let mut failed = None;
        view.scan_once(&range.start, &range.end, &mut |key, value| {
            if let Err(error) = files.put(key, value) {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            piece += (key.len() + value.len()) as u64;
            if piece >= PIECE {
                piece = 0;
                between();
            }
            ControlFlow::Continue(())
        })
        .map_err(EngineError::from)?;
        if let Some(error) = failed {
            return Err(error);
        }
        // A table that held rows of two ranges would span those of other shards between them: whoever takes many in could
        // lay none of them below another, and would merge them all, again and again.
        files.finish_current()?;
    }
    Ok(files.finished)
}

/// A row of files, each closed when it is long enough.
struct Files<'a> {
    options: &'a Options,
    directory: &'a StagingDirectory,
    file_bytes: u64,
    current: Option<Current<'a>>,
    finished: Vec<SnapshotFile>,
}

/// A file that is being written.
struct Current<'a> {
    writer: SstFileWriter<'a>,
    path: PathBuf,
    /// The same file.
    file: File,
    synced: u64,
}

impl<'a> Current<'a> {
    fn create(options: &'a Options, path: PathBuf) -> Result<Self, SnapshotError> {
        let writer = SstFileWriter::create(options);
        writer.open(&path).map_err(cannot_write)?;
        let file = File::open(&path).map_err(FileError::at("open", &path))?;
        Ok(Self { writer, path, file, synced: 0 })
    }
}

impl Files<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), SnapshotError> {
        let current = match &mut self.current {
            Some(current) => current,
            none => none.insert(Current::create(self.options, self.directory.file(self.finished.len()))?),
        };
        current.writer.put(key, value).map_err(cannot_write)?;
        let bytes = current.writer.file_size();
        // Not all at the end: syncs of the log, for which clients wait, would stand behind it.
        if bytes >= current.synced + SYNC_BYTES {
            current.file.sync_data().map_err(FileError::at("sync", &current.path))?;
            current.synced = bytes;
        }
        if bytes >= self.file_bytes { self.finish_current() } else { Ok(()) }
    }

    fn finish_current(&mut self) -> Result<(), SnapshotError> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        current.writer.finish().map_err(cannot_write)?;
        let (bytes, crc32c) = check_and_sync(&current.path)?;
        self.finished.push(SnapshotFile { name: file_name(self.finished.len()), bytes, crc32c });
        Ok(())
    }
}

/// Length and CRC32C of a file as the disk gives it back, and synced.
fn check_and_sync(path: &Path) -> Result<(u64, u32), FileError> {
    let read = || -> io::Result<(u64, u32)> {
        let mut file = File::open(path)?;
        file.sync_all()?;
        let mut buffer = vec![0; MAX_CHUNK];
        let (mut bytes, mut checksum) = (0, 0);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok((bytes, checksum)),
                length => {
                    checksum = crc32c::crc32c_append(checksum, &buffer[..length]);
                    bytes += length as u64;
                }
            }
        }
    };
    read().map_err(FileError::at("read and sync", path))
}

fn cannot_write(error: rocksdb::Error) -> SnapshotError {
    SnapshotError::Write(error.into_string())
}
