//! Room on a disk, and what directories take of it.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::error::{Doing as _, Result};

/// The part of the disk below `dir` that can still be written, from 0 to 1, as `df` counts: without what is reserved.
///
/// # Errors
/// It cannot be asked.
pub fn free(dir: &Path) -> Result<f64> {
    let disk = rustix::fs::statvfs(dir).doing(dir.display())?;
    let used = disk.f_blocks.saturating_sub(disk.f_bfree);
    Ok(disk.f_bavail as f64 / (used + disk.f_bavail).max(1) as f64)
}

/// Bytes that everything below `dir` takes.
///
/// # Errors
/// It cannot be read.
pub fn taken(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir).doing(dir.display())? {
        let entry = entry.doing(dir.display())?;
        // A running node removes files between the two looks.
        let Ok(metadata) = entry.metadata() else { continue };
        sum += 512 * metadata.blocks();
        if metadata.is_dir() {
            sum += taken(&entry.path())?;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_all_levels_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/b"), [7; 100_000]).unwrap();
        assert!((100_000..200_000).contains(&taken(dir.path()).unwrap()));
        assert!(taken(&dir.path().join("c")).is_err());
        let free = free(dir.path()).unwrap();
        assert!((0.0..=1.0).contains(&free), "{free}");
    }
}
