//! Files and directories that survive a power cut: what is written by rename is synced, and so is the directory that
//! names it (HAZARDS H37). Small files are sealed: magic, format, length, payload, CRC32C.

#[cfg(test)]
mod fuzz_tests;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// A call of the file system failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    /// What was attempted.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl FileError {
    /// For `map_err` around a call of the file system.
    pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), source }
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(FileError::at("sync directory", path))
}

/// Creates `path` and every missing directory above it, and syncs each and the one that names it. A directory that is
/// there already is synced too: it may be from a start that was cut off before its sync.
pub(crate) fn create_directories(path: &Path) -> Result<(), FileError> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".")),
        parent => parent,
    };
    if !path.is_dir() {
        if let Some(parent) = parent
            && !parent.is_dir()
        {
            create_directories(parent)?;
        }
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(FileError::at("create directory", path)(error));
            }
            _ => {}
        }
    }
    sync_directory(path)?;
    match parent {
        // Above the data directory there may be directories that this process may not read: those were not made here.
        Some(parent) if File::open(parent).is_ok() => sync_directory(parent),
        _ => Ok(()),
    }
}

/// Replaces `path` by `bytes` so that after a power cut it holds either the old or the new content, whole.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let temporary = path.with_extension("tmp");
    File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(FileError::at("write", &temporary))?;
    fs::rename(&temporary, path).map_err(FileError::at("rename into place", path))?;
    sync_parent(path)
}

/// Removes a file, durably. One that is not there is no error.
pub(crate) fn remove_file(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FileError::at("remove", path)(error)),
        Ok(()) => sync_parent(path),
    }
}

/// Removes a directory with all in it, durably. One that is not there is no error.
pub(crate) fn remove_tree(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FileError::at("remove directory", path)(error)),
        Ok(()) => sync_parent(path),
    }
}

/// Makes the name of a file durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), FileError> {
    path.parent().map_or(Ok(()), sync_directory)
}

/// What a sealed file must begin with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seal {
    pub(crate) magic: [u8; 8],
    pub(crate) format: u32,
}

/// Why a sealed file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} is torn or was edited: {why}", path.display())]
    Torn { path: PathBuf, why: &'static str },
    #[error("{} has format {found}, this build knows {known}", path.display())]
    Format { path: PathBuf, found: u32, known: u32 },
}

/// Magic, format and length before the payload; the checksum is behind it.
const HEAD: usize = 8 + 4 + 4;
const CHECKSUM: usize = 4;

impl Seal {
    /// Writes `payload` durably to `path`, in place of what was there.
    pub(crate) fn write(self, path: &Path, payload: &[u8]) -> Result<(), FileError> {
        let mut bytes = Vec::with_capacity(HEAD + payload.len() + CHECKSUM);
        bytes.extend_from_slice(&self.magic);
        bytes.extend_from_slice(&self.format.to_le_bytes());
        // Sealed files hold an id or an identity: far below 4 GiB.
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        write_atomically(path, &bytes)
    }

    /// The payload of the file, `None` when there is no such file.
    pub(crate) fn read(self, path: &Path) -> Result<Option<Vec<u8>>, SealError> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(FileError::at("read", path))?,
        };
        let torn = |why| SealError::Torn { path: path.to_owned(), why };
        let Some((head, rest)) = bytes.split_at_checked(HEAD) else { return Err(torn("it is too short")) };
        if head[..8] != self.magic {
            return Err(torn("it does not begin as such a file must"));
        }
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (format, length) = (number(8), number(12) as usize);
        if format != self.format {
            return Err(SealError::Format { path: path.to_owned(), found: format, known: self.format });
        }
        if rest.len() != length + CHECKSUM {
            return Err(torn("its length is not the one that it names"));
        }
        let (covered, checksum) = bytes.split_at(HEAD + length);
        if crc32c::crc32c(covered).to_le_bytes() != checksum {
            return Err(torn("its checksum does not match"));
        }
        Ok(Some(rest[..length].to_vec()))
    }
}
