//! How full the disk is: what a node's read-only mode and its reports go by.

use std::path::Path;

use crate::FileError;

/// Bytes of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// What this process may still write.
    pub free: u64,
    /// All there is.
    pub total: u64,
}

impl DiskSpace {
    /// Of the file system that holds `path`.
    pub fn of(path: &Path) -> Result<Self, FileError> {
        let space = fs4::statvfs(path).map_err(FileError::at("ask for the space of", path))?;
        Ok(Self { free: space.available_space(), total: space.total_space() })
    }
}
