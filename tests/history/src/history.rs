//! A history: operations, and how to make the same run again.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::operation::{Action, Expected, Kind, Operation, UNREADABLE};

/// What clients did in one run, and how that run is replayed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Where the run came from.
    pub origin: Origin,
    /// The operations, in any order. Every key starts absent, empty, or at 0.
    pub operations: Vec<Operation>,
}

/// How to make the same run again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The seed of the run.
    pub seed: u64,
    /// The command that replays it.
    pub replay: String,
}

/// Why operations are no history: an error of who recorded them, not of what was tested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("operation {index} ({operation}) {what}")]
pub struct InvalidHistory {
    /// Which one, counted from 0.
    pub index: usize,
    /// The operation, as text.
    pub operation: String,
    /// What is wrong with it.
    pub what: &'static str,
}

impl History {
    /// Checks what a checker takes for granted.
    ///
    /// # Errors
    /// The first operation that returns before it is called, has an answer that does not fit, adds nothing, writes
    /// [`UNREADABLE`], uses its key in another way than an operation before it, or did not meet a condition on a revision
    /// and does not tell which there was.
    pub fn validate(&self) -> Result<(), InvalidHistory> {
        let mut kinds: HashMap<&str, Kind> = HashMap::new();
        for (index, operation) in self.operations.iter().enumerate() {
            let kind = *kinds.entry(&operation.key).or_insert_with(|| operation.action.kind());
            let wrong = if operation.returned < operation.called {
                Some("returns before it is called")
            } else if operation.answer().is_some_and(|answer| !operation.action.fits(answer)) {
                Some("has an answer of another kind of operation")
            } else if operation.action.value_written() == Some(UNREADABLE) {
                Some("writes the value that stands for what cannot be read")
            } else if lacks_revision(operation) {
                Some("does not tell the revision that its condition did not meet")
            } else if operation.action == (Action::Add { amount: 0 }) {
                Some("adds nothing")
            } else if operation.action.kind() != kind {
                Some("uses its key in another way than those before it")
            } else {
                None
            };
            if let Some(what) = wrong {
                return Err(InvalidHistory { index, operation: operation.to_string(), what });
            }
        }
        Ok(())
    }

    /// The operations of each key, in order of key, each in order of call. Those that surely did not happen are left
    /// out, and so are reads without an answer: they say nothing.
    pub(crate) fn by_key(&self) -> Vec<KeyHistory<'_>> {
        let mut keys: HashMap<&str, KeyHistory<'_>> = HashMap::new();
        for operation in &self.operations {
            let key = keys.entry(&operation.key).or_insert_with(|| KeyHistory::new(operation));
            if operation.is_ok() || (operation.is_unknown() && !operation.action.is_read()) {
                key.operations.push(operation);
            } else if !operation.action.is_read() {
                key.failed.push(operation);
            }
        }
        let mut sorted: Vec<_> = keys.into_values().collect();
        sorted.sort_unstable_by_key(|key| key.key);
        for key in &mut sorted {
            key.operations.sort_by_key(|operation| (operation.called, operation.open_until()));
        }
        sorted
    }
}

/// Whether a condition on a revision was not met by another that is not told.
fn lacks_revision(operation: &Operation) -> bool {
    let on_revision = matches!(operation.action, Action::CompareAndSet { expected: Expected::Revision(_), .. });
    on_revision && operation.seen().flatten().is_some_and(|held| held.revision.is_none())
}

/// What happened to one key.
#[derive(Clone, Debug)]
pub(crate) struct KeyHistory<'a> {
    pub(crate) key: &'a str,
    pub(crate) kind: Kind,
    /// In order of call; each has an answer, or is a write with an unknown outcome.
    pub(crate) operations: Vec<&'a Operation>,
    /// Writes that surely did not happen.
    pub(crate) failed: Vec<&'a Operation>,
}

impl<'a> KeyHistory<'a> {
    fn new(first: &'a Operation) -> Self {
        Self { key: &first.key, kind: first.action.kind(), operations: Vec::new(), failed: Vec::new() }
    }
}
