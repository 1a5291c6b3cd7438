//! How far `raft/` was synced: the number of the last synced write, in a file of its own beside the store.
//!
//! A write-ahead log whose end is gone looks as if it had been torn by a power cut, and RocksDB opens it without a word. But
//! votes and acknowledged entries may have been in there. What was synced cannot be gone, so a store that ends before the
//! mark is damaged (HAZARDS H21).
//!
//! The mark is written behind each sync, and synced itself once in a while: a power cut may take the newest marks, a crash
//! of the process takes none. It never names what was not synced.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::{FileError, files};

const MAGIC: [u8; 8] = *b"GRANSYNC";
/// Magic, number (little endian), CRC32C of both: less than a sector, so it is never torn.
const LENGTH: usize = 8 + 8 + 4;

/// The open file.
#[derive(Debug)]
pub(crate) struct Watermark {
    path: PathBuf,
    file: File,
}

impl Watermark {
    /// Of the store in the directory `store`, with the number that it holds. None: there was no such file, or it is
    /// damaged, and nothing can be said.
    pub(crate) fn open(store: &Path) -> Result<(Self, Option<u64>), FileError> {
        let path = store.with_file_name("raft-synced");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(FileError::at("open", &path))?;
        files::sync_parent(&path)?;
        let mut bytes = [0; LENGTH];
        let number = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => decode(&bytes),
            // New, or from before it was first synced.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(FileError::at("read", &path)(error)),
        };
        Ok((Self { path, file }, number))
    }

    /// Notes that all writes up to this one are synced.
    pub(crate) fn raise(&self, number: u64) -> Result<(), FileError> {
        self.file.write_all_at(&encode(number), 0).map_err(FileError::at("write", &self.path))
    }

    /// Makes the mark durable.
    pub(crate) fn sync(&self) -> Result<(), FileError> {
        self.file.sync_data().map_err(FileError::at("sync", &self.path))
    }
}

fn encode(number: u64) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..16]);
    bytes[16..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; LENGTH]) -> Option<u64> {
    let (covered, checksum) = bytes.split_at(16);
    let whole = covered.starts_with(&MAGIC) && crc32c::crc32c(covered).to_le_bytes() == *checksum;
    let (_, number) = covered.split_last_chunk::<8>()?;
    whole.then(|| u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_what_was_noted_last_and_a_damaged_one_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("raft");
        let (mark, number) = Watermark::open(&store).unwrap();
        assert_eq!(number, None);
        for number in [7, 300, 301] {
            mark.raise(number).unwrap();
        }
        mark.sync().unwrap();
        assert_eq!(Watermark::open(&store).unwrap().1, Some(301));
        let path = directory.path().join("raft-synced");
        let whole = std::fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 4;
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(Watermark::open(&store).unwrap().1, None, "{place}");
        }
    }
}
