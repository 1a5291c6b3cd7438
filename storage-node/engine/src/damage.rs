//! What is known to be damaged in `data/`: the first thing that was found, in memory and noted in a file beside the
//! store, so that the next start makes the store anew from what can be read (`remake`), whatever ended the process
//! meanwhile.
//!
//! RocksDB checks every block that it reads, so what is damaged is never served: it is an error.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::{
    FileError,
    files::{self, Seal, SealError},
};

const NOTE: Seal = Seal { magic: *b"GRANDAMG", format: 1 };
/// Longest text that is kept, in bytes.
const MAX_TEXT: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Damage {
    note: PathBuf,
    found: OnceLock<String>,
}

impl Damage {
    /// Of the store in the directory `store`.
    pub(crate) fn of(store: &Path) -> Self {
        Self { note: note(store), found: OnceLock::new() }
    }

    pub(crate) fn found(&self) -> Option<&str> {
        self.found.get().map(String::as_str)
    }

    /// Remembers and notes `what`, if it is the first. Whether it was.
    pub(crate) fn remember(&self, what: &str) -> bool {
        let what: String = what.chars().take(MAX_TEXT / 4).collect();
        if self.found.set(what.clone()).is_err() {
            return false;
        }
        // Without the note the damage is found again behind the next start.
        if let Err(error) = NOTE.write(&self.note, what.as_bytes()) {
            tracing::warn!(%error, "the damage cannot be noted on the disk");
        }
        true
    }
}

/// What was noted of the store in the directory `store`. A note that is torn is one: something was.
pub(crate) fn noted(store: &Path) -> Result<Option<String>, FileError> {
    match NOTE.read(&note(store)) {
        Ok(bytes) => Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
        Err(SealError::File(error)) => Err(error),
        Err(torn) => Ok(Some(torn.to_string())),
    }
}

/// Forgets what was noted.
pub(crate) fn forget(store: &Path) -> Result<(), FileError> {
    files::remove_file(&note(store))
}

fn note(store: &Path) -> PathBuf {
    store.with_file_name("damage")
}

/// Whether RocksDB's words mean that what is on the disk is not what was written, or cannot be read for good. Nothing
/// else does: no lack of room, no lock, nothing that another try may change.
pub(crate) fn is_damage(words: &str) -> bool {
    ["Corruption:", "Input/output error"].iter().any(|sign| words.contains(sign))
}

/// Whether RocksDB's words mean that what is on the disk is not what was written. What cannot be read now may be read by
/// another try: a volume may be out of reach for a moment, on all machines at once.
///
/// A file that is named and not there is wrong too: this is of stores whose directory is there.
pub(crate) fn is_wrong(words: &str) -> bool {
    let wrong = words.contains("Corruption:") || words.contains("No such file or directory");
    wrong && !words.contains("Input/output error")
}

/// Whether RocksDB's words are of a failed write that met damage when it merged tables, which ends all writes: those
/// words are of a read. A write that failed by itself says nothing of what is there.
pub(crate) fn met_by_a_merge(words: &str) -> bool {
    words.contains("Corruption:") || words.contains("While pread") && words.contains("Input/output error")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_damage_is_kept_and_noted() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("data");
        assert_eq!(noted(&store).unwrap(), None);
        let damage = Damage::of(&store);
        assert!(damage.remember("a block") && !damage.remember("another one"));
        assert_eq!((damage.found(), noted(&store).unwrap().as_deref()), (Some("a block"), Some("a block")));
        std::fs::write(directory.path().join("damage"), "torn").unwrap();
        assert!(noted(&store).unwrap().unwrap().contains("torn"));
        forget(&store).unwrap();
        assert_eq!(noted(&store).unwrap(), None);
    }

    #[test]
    fn only_wrong_or_unreadable_bytes_are_damage() {
        assert!(is_damage("Corruption: block checksum mismatch: stored = 1, computed = 2 in 12.sst"));
        assert!(is_damage("IO error: While pread offset 0: 12.sst: Input/output error"));
        for other in ["IO error: No space left on device", "IO error: While lock file: LOCK", "Busy: ", ""] {
            assert!(!is_damage(other), "{other}");
        }
        assert!(is_wrong("IO error: No such file or directory: While opening a file: data/MANIFEST-000090"));
        assert!(is_wrong("Corruption: checksum mismatch") && !is_wrong("IO error: While pread: Input/output error"));
        assert!(!is_wrong("Corruption: IO error: While pread offset 0: 12.sst: Input/output error"));
        assert!(met_by_a_merge("IO error: While pread offset 0: 12.sst: Input/output error"));
        assert!(!met_by_a_merge("IO error: While appending to file: 12.log: Input/output error"));
    }
}
