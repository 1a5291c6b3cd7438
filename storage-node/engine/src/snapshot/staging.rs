//! `staging/`: a directory of its own for each snapshot on its way in or out, gone when the snapshot is dropped. What a
//! crash leaves is removed at the next start.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::SnapshotError;
use crate::{DiskSpace, FileError, files};

/// Where a member keeps snapshots on their way. How many there are at a time is its user's business.
#[derive(Debug)]
pub struct StagingArea {
    root: PathBuf,
    cluster_id: String,
    next: AtomicU64,
}

impl StagingArea {
    /// The directory must be there, and on the file system of `data/`: files are moved from it.
    pub(crate) fn new(root: PathBuf, cluster_id: String) -> Self {
        Self { root, cluster_id, next: AtomicU64::new(0) }
    }

    /// The cluster whose snapshots are made and taken in.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Refuses what would take the space that the stores need to go on, and to recover (HAZARDS H23).
    pub(crate) fn check_room(&self, bytes: u64) -> Result<(), SnapshotError> {
        let space = DiskSpace::of(&self.root)?;
        let left = space.free.saturating_sub(reserve(space.total));
        if bytes <= left {
            return Ok(());
        }
        let allowed = format!("the disk has room for {left} besides what the node keeps free");
        Err(SnapshotError::Refused { field: "the sum of the files' bytes", value: bytes.to_string(), allowed })
    }

    /// A new empty directory.
    pub(crate) fn directory(&self, purpose: &str) -> Result<StagingDirectory, FileError> {
        let number = self.next.fetch_add(1, Relaxed);
        let path = self.root.join(format!("{purpose}-{number}"));
        files::create_directories(&path)?;
        Ok(StagingDirectory { path })
    }
}

/// A directory that is removed with all in it when this is dropped.
#[derive(Debug)]
pub(crate) struct StagingDirectory {
    path: PathBuf,
}

impl StagingDirectory {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the `number`-th file of the snapshot is. Names never come from outside.
    pub(crate) fn file(&self, number: usize) -> PathBuf {
        self.path.join(file_name(number))
    }
}

impl Drop for StagingDirectory {
    fn drop(&mut self) {
        // What stays is removed at the next start.
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a snapshot's directory");
        }
    }
}

/// Bytes that no snapshot may take: a twentieth of the disk, 1 GiB at most.
fn reserve(total: u64) -> u64 {
    (total / 20).min(1 << 30)
}

/// Name of the `number`-th file.
pub(crate) fn file_name(number: usize) -> String {
    format!("{number:06}.sst")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_leaves_the_stores_their_space() {
        let directory = tempfile::tempdir().unwrap();
        let staging = StagingArea::new(directory.path().to_owned(), "cluster".into());
        let space = DiskSpace::of(directory.path()).unwrap();
        let refused = staging.check_room(space.free - reserve(space.total) / 2).unwrap_err();
        assert!(refused.to_string().contains("room for"), "{refused}");
        assert_eq!(reserve(100), 5);
        assert_eq!(reserve(u64::MAX), 1 << 30);
    }
}
