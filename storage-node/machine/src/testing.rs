//! A view in memory, for tests and simulations of whoever uses the machines. Not for real nodes: nothing is durable.

use std::{collections::BTreeMap, ops::Bound};

use bytes::Bytes;

use crate::view::{View, ViewError, Visit, Write};

/// Rows in a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemView {
    rows: BTreeMap<Bytes, Bytes>,
}

impl MemView {
    /// Makes the writes, in order.
    pub fn write(&mut self, writes: impl IntoIterator<Item = Write>) {
        for write in writes {
            match write {
                Write::Put { key, value } => {
                    self.rows.insert(key, value);
                }
                Write::Delete { key } => {
                    self.rows.remove(&key);
                }
                Write::DeleteRange { start, end } => {
                    self.rows.retain(|key, _| *key < start || *key >= end);
                }
            }
        }
    }

    /// All rows, in order of their keys.
    pub fn rows(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.rows.iter()
    }
}

impl FromIterator<(Bytes, Bytes)> for MemView {
    fn from_iter<I: IntoIterator<Item = (Bytes, Bytes)>>(rows: I) -> Self {
        Self { rows: rows.into_iter().collect() }
    }
}

impl View for MemView {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), ViewError> {
        if from >= to {
            return Ok(());
        }
        for (key, value) in self.rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}
