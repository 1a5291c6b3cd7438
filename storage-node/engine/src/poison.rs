//! The memory of a store's first failed write: from then on it takes nothing (HAZARDS H22).
//!
//! After a failed sync nobody knows what the disk holds, and a second sync that succeeds proves nothing.

use std::sync::OnceLock;

use crate::{EngineError, StoreKind};

/// See the module.
#[derive(Debug)]
pub(crate) struct Poison {
    store: StoreKind,
    first: OnceLock<String>,
    #[cfg(test)]
    fail_next: std::sync::atomic::AtomicBool,
}

impl Poison {
    pub(crate) fn new(store: StoreKind) -> Self {
        Self {
            store,
            first: OnceLock::new(),
            #[cfg(test)]
            fail_next: std::sync::atomic::AtomicBool::new(false),
        }
    }

    /// An error once anything failed.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        match self.first.get() {
            None => Ok(()),
            Some(first) => Err(EngineError::Poisoned { store: self.store, first: first.clone() }),
        }
    }

    /// Runs a write or sync unless an earlier one failed; remembers when this one fails.
    pub(crate) fn guard(
        &self,
        action: &'static str,
        write: impl FnOnce() -> Result<(), rocksdb::Error>,
    ) -> Result<(), EngineError> {
        self.check()?;
        #[cfg(test)]
        if self.fail_next.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return Err(self.remember(action, "injected by a test".into()));
        }
        write().map_err(|error| self.remember(action, error.into_string()))
    }

    /// As when a guarded write fails with `error`, which is given back.
    pub(crate) fn fail(&self, error: EngineError) -> EngineError {
        let _ = self.first.set(error.to_string());
        error
    }

    fn remember(&self, action: &'static str, message: String) -> EngineError {
        let error = EngineError::RocksDb { store: self.store, action, message };
        // The first failure stays; a later one of another thread adds nothing.
        let _ = self.first.set(error.to_string());
        error
    }

    /// Makes the next guarded write fail without being tried.
    #[cfg(test)]
    pub(crate) fn fail_next(&self) {
        self.fail_next.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
