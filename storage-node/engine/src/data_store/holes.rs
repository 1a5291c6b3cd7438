//! Holes in the write-ahead logs of `data/`. What was not synced may be lost by a power cut in any part: also its middle,
//! or the end of one log while the next one is there. RocksDB goes on behind both: it passes over zeros, and takes a log
//! that ends at the end of a record for whole. Then rows would be missing below the applied index that a newer write names
//! (HAZARDS H4).
//!
//! So before the store is opened, its logs are cut at the first write that does not follow the one before it by its
//! number. What is behind it is applied again from `raft/`, as all that was not synced.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
};

use crate::{FileError, files};

/// A log is made of blocks; no record begins where its header does not fit into one (RocksDB's log_format.h).
const BLOCK: usize = 32 << 10;
/// Checksum (4 bytes), length (2), type (1).
const HEADER: usize = 7;
/// Number of the first row (8 bytes) and how many rows (4), at the beginning of each write.
const WRITE: usize = 12;

/// Cuts the logs of the store in the directory `store` at the first hole. Logs below the number `first` are of no use any
/// more. Says where it was cut, unless all of it is whole.
pub(super) fn cut(store: &Path, first: u64) -> Result<Option<String>, FileError> {
    let mut logs = logs(store)?;
    logs.retain(|(number, _)| *number >= first);
    let mut next = None;
    for (at, (number, path)) in logs.iter().enumerate() {
        let bytes = fs::read(path).map_err(FileError::at("read", path))?;
        let walked = walk(&bytes, next);
        next = walked.next;
        if walked.end == bytes.len() {
            continue;
        }
        let newer = &logs[at + 1..];
        // The newest first: a crash in between leaves no hole that is not seen again.
        newer.iter().rev().try_for_each(|(_, path)| files::remove_file(path))?;
        let log = OpenOptions::new().write(true).open(path).map_err(FileError::at("open", path))?;
        log.set_len(walked.end as u64).and_then(|()| log.sync_all()).map_err(FileError::at("cut", path))?;
        files::sync_directory(store)?;
        let lost = bytes.len() - walked.end;
        return Ok(Some(format!("log {number} ends {lost} bytes earlier, and {} newer ones are gone", newer.len())));
    }
    Ok(None)
}

/// In order of their numbers.
fn logs(store: &Path) -> Result<Vec<(u64, PathBuf)>, FileError> {
    let failed = |error| FileError::at("list", store)(error);
    let mut found = Vec::new();
    for entry in fs::read_dir(store).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|ending| ending == "log")) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// How far a log is whole.
#[derive(Debug, PartialEq, Eq)]
struct Walked {
    /// Where the last write ends that follows the one before it; the length, if nothing is behind it.
    end: usize,
    /// Number of the row that comes next, once a write was seen.
    next: Option<u64>,
}

/// `next`: the number that the first write must have.
fn walk(bytes: &[u8], mut next: Option<u64>) -> Walked {
    let (mut at, mut end) = (0, 0);
    // The beginning of the write whose fragments are being read.
    let mut write: Option<Vec<u8>> = None;
    loop {
        let left = BLOCK - at % BLOCK;
        if left < HEADER {
            at += left;
        }
        if at >= bytes.len() {
            // In the middle of a write it is torn.
            return Walked { end: if write.is_none() { bytes.len() } else { end }, next };
        }
        let Some((kind, payload)) = record(bytes, at) else { return Walked { end, next } };
        at += HEADER + payload.len();
        let begun = match (kind, write.take()) {
            (1 | 2, None) => Vec::new(),
            (3 | 4, Some(begun)) => begun,
            // What describes the log itself: how it is compressed, and the one before it.
            (9 | 128.., None) => {
                end = at;
                continue;
            }
            _ => return Walked { end, next },
        };
        let begun = begun.into_iter().chain(payload.iter().copied()).take(WRITE).collect::<Vec<u8>>();
        if matches!(kind, 2 | 3) {
            write = Some(begun);
            continue;
        }
        match numbers(&begun) {
            Some((first, rows)) if next.is_none_or(|next| next == first) => {
                (end, next) = (at, first.checked_add(rows.into()));
            }
            _ => return Walked { end, next },
        }
    }
}

/// Type and payload of the record there; none if it is not whole.
fn record(bytes: &[u8], at: usize) -> Option<(u8, &[u8])> {
    let (header, rest) = bytes.get(at..)?.split_first_chunk::<HEADER>()?;
    let [a, b, c, d, low, high, kind] = *header;
    let payload = rest.get(..usize::from(u16::from_le_bytes([low, high])))?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&[kind]), payload);
    // Masked, since it may be stored in what is checksummed itself.
    let masked = crc.rotate_right(15).wrapping_add(0xa282_ead8);
    (kind != 0 && masked == u32::from_le_bytes([a, b, c, d])).then_some((kind, payload))
}

fn numbers(write: &[u8]) -> Option<(u64, u32)> {
    let (first, rest) = write.split_first_chunk::<8>()?;
    let rows = rest.first_chunk::<4>()?;
    Some((u64::from_le_bytes(*first), u32::from_le_bytes(*rows)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EngineOptions, testing::TestDisk};
    use granary_machine::{Write, rows};

    fn row(number: u64) -> Write {
        Write::Put { key: rows::data_key_in(1, &number.to_be_bytes()), value: vec![number as u8; 5_000].into() }
    }

    /// Rows that were written one after the other, all of them in the log.
    fn member() -> tempfile::TempDir {
        let disk = TestDisk::new(1);
        (1..=40).for_each(|number| disk.stores().data.write(&[row(number)]).unwrap());
        disk.close()
    }

    fn newest(root: &Path) -> PathBuf {
        logs(&root.join("data")).unwrap().pop().unwrap().1
    }

    fn present(root: &Path) -> Vec<bool> {
        use granary_machine::View as _;
        let disk = crate::Disk::open(root, EngineOptions::default()).unwrap();
        let view = disk.stores().unwrap().data.view();
        let key = |number: u64| rows::data_key_in(1, &number.to_be_bytes());
        (1..=40).map(|number| view.get(&key(number)).unwrap().is_some()).collect()
    }

    #[test]
    fn a_log_of_rocksdb_is_walked_to_its_end() {
        let root = member();
        let bytes = fs::read(newest(root.path())).unwrap();
        assert!(bytes.len() > 5 * BLOCK);
        let walked = walk(&bytes, None);
        assert_eq!(walked.end, bytes.len());
        assert!(walked.next.is_some_and(|next| next > 40), "{walked:?}");
        assert!(walk(&bytes, walked.next).end < 100, "it does not follow itself");
        assert_eq!(cut(&root.path().join("data"), 0).unwrap(), None);
    }

    #[test]
    fn a_write_that_is_missing_takes_all_behind_it() {
        for (from, to) in [(40_000, 60_000), (BLOCK, 2 * BLOCK), (100_000, 100_001)] {
            let root = member();
            let path = newest(root.path());
            let mut bytes = fs::read(&path).unwrap();
            bytes[from..to].fill(0);
            fs::write(&path, &bytes).unwrap();
            let present = present(root.path());
            let first_lost = present.iter().position(|present| !present).unwrap();
            assert!((1..40).contains(&first_lost), "{from}: {present:?}");
            assert!(present[first_lost..].iter().all(|present| !present), "{from}: {present:?}");
        }
    }

    #[test]
    fn a_log_that_does_not_follow_the_one_before_it_goes() {
        let root = member();
        let (data, path) = (root.path().join("data"), newest(root.path()));
        let bytes = fs::read(&path).unwrap();
        let newer = data.join("000999.log");
        // The same writes again do not follow themselves.
        fs::write(&newer, &bytes).unwrap();
        assert!(cut(&data, 0).unwrap().is_some());
        assert!(fs::metadata(&newer).unwrap().len() == 0 && fs::read(&path).unwrap() == bytes);
        assert_eq!(cut(&data, 0).unwrap(), None);
    }

    #[test]
    fn garbage_is_no_log() {
        for bytes in [vec![0; 100], vec![7; 100], vec![1, 2, 3]] {
            assert_eq!(walk(&bytes, None), Walked { end: 0, next: None });
        }
        assert_eq!(walk(&[], Some(4)), Walked { end: 0, next: Some(4) });
    }
}
