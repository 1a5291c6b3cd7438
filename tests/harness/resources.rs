//! What a process and a directory take.

use std::{fs, path::Path};

use crate::{HarnessError, Result};

/// Resident bytes of a process (Linux).
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).map_err(|error| HarnessError::because(&path, error))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| HarnessError(format!("{path} has no VmRSS")))
}

/// Bytes that the files in and below a directory take on its disk. Files that go meanwhile are left out.
pub fn disk_bytes(directory: &Path) -> Result<u64> {
    let entries = fs::read_dir(directory).map_err(|error| HarnessError::because(directory.display(), error))?;
    let mut bytes = 0;
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { disk_bytes(&entry.path()).unwrap_or(0) } else { taken(&metadata) };
    }
    Ok(bytes)
}

#[cfg(unix)]
fn taken(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    metadata.blocks() * 512
}

#[cfg(not(unix))]
fn taken(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}
