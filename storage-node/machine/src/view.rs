//! What the machines read from and what they want written. Knows nothing of how rows are stored.

use std::{error::Error, ops::ControlFlow};

use bytes::Bytes;

/// What a scan calls with each row's key and value; it goes on until this breaks.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// The stored rows as they are at one moment: a snapshot, or a store that nobody else writes to.
pub trait View {
    /// The value of the row `key`, if it is there.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError>;

    /// Calls `visit` with each row of `[from, to)` in order of their keys, until it breaks.
    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), ViewError>;

    /// The row with the smallest key in `[from, to)`.
    fn next(&self, from: &[u8], to: &[u8]) -> Result<Option<(Bytes, Bytes)>, ViewError> {
        let mut found = None;
        self.scan(from, to, &mut |key, value| {
            found = Some((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            ControlFlow::Break(())
        })?;
        Ok(found)
    }
}

/// The store below a [`View`] could not be read. What to do about it is the store's business, never the machine's.
#[derive(Debug, thiserror::Error)]
#[error("the stored rows cannot be read")]
pub struct ViewError(#[source] Box<dyn Error + Send + Sync>);

impl ViewError {
    /// Wraps the store's own error.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// One change of the stored rows. Changes are made in the order they are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a row.
    Put {
        /// The row's key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Deletes a row; nothing happens if it is not there.
    Delete {
        /// The row's key.
        key: Bytes,
    },
    /// Deletes all rows with `start <= key < end`.
    DeleteRange {
        /// First key.
        start: Bytes,
        /// One behind the last key.
        end: Bytes,
    },
}

impl Write {
    /// Bytes it adds to a batch.
    pub fn weight(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
            Self::DeleteRange { start, end } => start.len() + end.len(),
        }
    }
}
