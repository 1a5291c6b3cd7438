//! A note of RocksDB's list of the tables of `data/`, its MANIFEST: how long it was, and the checksum of that.
//!
//! RocksDB takes a list that ends early for one that a crash has torn, and opens the store without the tables that the
//! lost end named, whose log is gone already: rows would be missing, and nothing would say so (HAZARDS H21). What was noted
//! here was synced, so it must be there; what came behind it may be torn.
//!
//! The note is in the store's own directory, so that it goes where the store goes.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use crate::{
    EngineError, FileError, StoreKind,
    files::{Seal, SealError},
};

const NOTE: Seal = Seal { magic: *b"GRANLIST", format: 1 };
/// Name in the store's directory; RocksDB leaves alone what it does not know.
const NAME: &str = "granary-tables";
/// Number of the list, length and checksum of what is noted of it, all little endian.
const LENGTH: usize = 8 + 8 + 4;

/// The beginning of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Beginning {
    /// In the name of the list: each opening of the store begins another one, with a higher number.
    number: u64,
    /// In bytes.
    length: u64,
    crc32c: u32,
}

/// What is noted of the list that is in use.
#[derive(Debug)]
pub(super) struct Manifest {
    store: PathBuf,
    noted: Beginning,
}

impl Manifest {
    /// Of the open store in that directory.
    pub(super) fn of(store: &Path) -> Self {
        Self { store: store.to_owned(), noted: Beginning::default() }
    }

    /// Notes what the list has more by now, durably.
    pub(super) fn note(&mut self) -> Result<(), FileError> {
        let number = in_use(&self.store)?;
        let path = list(&self.store, number);
        let before =
            if self.noted.number == number { self.noted } else { Beginning { number, ..Beginning::default() } };
        let length = fs::metadata(&path).map_err(FileError::at("look at", &path))?.len();
        if self.noted == before && length <= before.length {
            return Ok(());
        }
        let mut file = File::open(&path).map_err(FileError::at("open", &path))?;
        let now = read(&mut file, before, length).map_err(FileError::at("read", &path))?;
        // RocksDB syncs what it writes here, and may be about to.
        file.sync_data().map_err(FileError::at("sync", &path))?;
        NOTE.write(&self.store.join(NAME), &encode(now))?;
        self.noted = now;
        Ok(())
    }
}

/// Refuses a store whose list is not what was noted of it.
pub(super) fn check(store: &Path) -> Result<(), EngineError> {
    let damaged = |what: String| EngineError::RocksDb {
        store: StoreKind::Data,
        action: "open",
        message: format!("Corruption: {what}"),
    };
    let failed = |error| EngineError::file(StoreKind::Data, "look at the tables of")(error);
    let noted = match NOTE.read(&store.join(NAME)) {
        Ok(Some(bytes)) => decode(&bytes),
        Ok(None) => None,
        Err(SealError::File(error)) => return Err(failed(error)),
        Err(error) => {
            tracing::warn!(%error, "whether the list of tables of data/ is whole cannot be said");
            None
        }
    };
    let Some(noted) = noted else { return Ok(()) };
    // What is missing or wrong with the name of the list, RocksDB says itself.
    let Ok(number) = in_use(store) else { return Ok(()) };
    let path = list(store, number);
    if number < noted.number {
        return Err(damaged(format!("{} is in use, and a newer one was noted: {}", path.display(), noted.number)));
    }
    if number > noted.number || !path.exists() {
        // A crash came between its first use and the note.
        return Ok(());
    }
    let mut file = File::open(&path).map_err(FileError::at("open", &path)).map_err(failed)?;
    let empty = Beginning { number, ..Beginning::default() };
    let found = read(&mut file, empty, noted.length).map_err(FileError::at("read", &path)).map_err(failed)?;
    if found != noted {
        let (length, noted) = (found.length, noted.length);
        return Err(damaged(format!(
            "{} has lost its end or was changed: it has {length} of {noted} bytes that were synced, or others",
            path.display()
        )));
    }
    Ok(())
}

/// Number of the list that the store uses.
fn in_use(store: &Path) -> Result<u64, FileError> {
    let path = store.join("CURRENT");
    let failed = |error| FileError::at("read", &path)(error);
    let name = fs::read_to_string(&path).map_err(failed)?;
    let number = name.trim_end().strip_prefix("MANIFEST-").and_then(|number| number.parse().ok());
    number.ok_or_else(|| failed(io::Error::new(io::ErrorKind::InvalidData, "it names no list of tables")))
}

fn list(store: &Path, number: u64) -> PathBuf {
    store.join(format!("MANIFEST-{number:06}"))
}

/// Goes on from `before` to `length`, or to the end.
fn read(file: &mut File, before: Beginning, length: u64) -> io::Result<Beginning> {
    file.seek(SeekFrom::Start(before.length))?;
    let mut left = file.take(length.saturating_sub(before.length));
    let (mut now, mut bytes) = (before, vec![0; 64 << 10]);
    loop {
        match left.read(&mut bytes)? {
            0 => return Ok(now),
            count => {
                now.length += count as u64;
                now.crc32c = crc32c::crc32c_append(now.crc32c, &bytes[..count]);
            }
        }
    }
}

fn encode(beginning: Beginning) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..8].copy_from_slice(&beginning.number.to_le_bytes());
    bytes[8..16].copy_from_slice(&beginning.length.to_le_bytes());
    bytes[16..].copy_from_slice(&beginning.crc32c.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Beginning> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let crc32c = u32::from_le_bytes(rest.try_into().ok()?);
    Some(Beginning { number: u64::from_le_bytes(*number), length: u64::from_le_bytes(*length), crc32c })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        DataStore,
        testing::{TestDisk, put},
    };
    use granary_machine::rows;

    fn flush(data: &DataStore, number: u64) {
        data.write(&[put(rows::data_key_in(1, &number.to_be_bytes()), vec![number as u8; 100])]).unwrap();
        data.compact();
    }

    /// A closed store, with all that its list names noted, and the list.
    fn noted() -> (tempfile::TempDir, PathBuf) {
        let disk = TestDisk::new(1);
        for number in 1..=3 {
            flush(&disk.stores().data, number);
            disk.stores().data.note_tables().unwrap();
        }
        let root = disk.close();
        let list = list(&root.path().join("data"), in_use(&root.path().join("data")).unwrap());
        (root, list)
    }

    fn says(root: &tempfile::TempDir) -> String {
        check(&root.path().join("data")).map_or_else(|error| error.to_string(), |()| "whole".into())
    }

    #[test]
    fn a_list_that_lost_any_of_its_noted_bytes_or_has_others_is_damage() {
        let (root, list) = noted();
        let whole = fs::read(&list).unwrap();
        assert_eq!(says(&root), "whole");
        for length in 0..whole.len() {
            fs::write(&list, &whole[..length]).unwrap();
            assert!(says(&root).contains("Corruption"), "{length} of {}", whole.len());
        }
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 16;
            fs::write(&list, changed).unwrap();
            assert!(says(&root).contains("Corruption"), "{place} of {}", whole.len());
        }
    }

    #[test]
    fn what_comes_behind_the_note_may_be_torn_and_a_newer_list_may_not_be_noted_yet() {
        let (root, list) = noted();
        let whole = fs::read(&list).unwrap();
        fs::write(&list, [&whole, &b"torn"[..]].concat()).unwrap();
        assert_eq!(says(&root), "whole");
        let data = root.path().join("data");
        fs::copy(&list, data.join("MANIFEST-009999")).unwrap();
        fs::write(data.join("CURRENT"), "MANIFEST-009999\n").unwrap();
        assert_eq!(says(&root), "whole");
        fs::write(data.join("CURRENT"), "MANIFEST-000001\n").unwrap();
        assert!(says(&root).contains("a newer one was noted"));
    }

    #[test]
    fn a_note_that_is_damaged_or_missing_says_nothing() {
        let (root, _) = noted();
        let note = root.path().join("data").join(NAME);
        let mut bytes = fs::read(&note).unwrap();
        bytes[20] ^= 1;
        fs::write(&note, bytes).unwrap();
        assert_eq!(says(&root), "whole");
        fs::remove_file(&note).unwrap();
        assert_eq!(says(&root), "whole");
    }
}
