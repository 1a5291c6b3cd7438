//! `staging/`: a directory of its own for each snapshot on its way in or out, gone when the snapshot is dropped. What a
//! crash leaves is removed at the next start.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

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

    /// Space of the file system that it is on.
    pub(crate) fn space(&self) -> Result<DiskSpace, FileError> {
        DiskSpace::of(&self.root)
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

/// Name of the `number`-th file.
pub(crate) fn file_name(number: usize) -> String {
    format!("{number:06}.sst")
}
