//! The note that `raft/` has lost what was synced, found out by what other nodes know. It is written before the node ends,
//! and from then on the store does not open: its votes are worth nothing (HAZARDS H1).

use std::path::{Path, PathBuf};

use super::RaftStore;
use crate::{
    EngineError, FileError, StoreKind,
    files::{Seal, SealError},
};

const NOTE: Seal = Seal { magic: *b"GRANLOSS", format: 1 };

impl RaftStore {
    /// Notes durably that the store has lost what was synced, and why that is known. It does not open again.
    pub fn note_loss(&self, why: &str) -> Result<(), FileError> {
        NOTE.write(&path(self.db.path()), why.as_bytes())
    }
}

/// Refuses a store that was noted as such.
pub(super) fn refuse_noted(store: &Path) -> Result<(), EngineError> {
    let why = match NOTE.read(&path(store)) {
        Ok(None) => return Ok(()),
        Ok(Some(why)) => String::from_utf8_lossy(&why).into_owned(),
        Err(SealError::File(error)) => {
            return Err(EngineError::corrupt(StoreKind::Raft, error.to_string()));
        }
        Err(torn) => torn.to_string(),
    };
    Err(EngineError::corrupt(StoreKind::Raft, format!("{why}. Give the node an empty disk")))
}

fn path(store: &Path) -> PathBuf {
    store.with_file_name("raft-lost")
}
