//! Conditions on the present state of keys.

use granary_common::limits::MAX_VALUE;
use granary_proto::kv::{Current, Guard, guard::Condition};

use crate::{
    errors::ApplyError,
    rows::{self, DataRow},
    view::View,
};

/// Most keys that an answer names.
const MAX_NAMED: usize = 16;

/// What the keys hold whose guards do not hold: none when all hold. Names at most 16 keys, and behind the first only
/// as many as have 4 MiB of values together, for the answer is stored and must fit into a message.
pub(super) fn failed(
    view: &(impl View + ?Sized),
    guards: &[Guard],
    unknown: impl Fn() -> ApplyError,
) -> Result<Vec<Current>, ApplyError> {
    let mut failed: Vec<Current> = Vec::new();
    let mut bytes = 0;
    for guard in guards {
        let row = view.get(&rows::data_key(&guard.key))?.map(DataRow::decode).transpose()?;
        if holds(guard, row.as_ref()).ok_or_else(&unknown)? {
            continue;
        }
        bytes += row.as_ref().map_or(0, |row| row.value.len());
        if failed.len() == MAX_NAMED || (bytes > MAX_VALUE && !failed.is_empty()) {
            break;
        }
        failed.push(Current {
            key: guard.key.clone(),
            found: row.is_some(),
            revision: row.as_ref().map_or(0, |row| row.revision),
            value: row.map(|row| row.value).unwrap_or_default(),
        });
    }
    Ok(failed)
}

/// `None`: no condition that this version knows.
fn holds(guard: &Guard, row: Option<&DataRow>) -> Option<bool> {
    match guard.condition.as_ref()? {
        Condition::Absent(true) => Some(row.is_none()),
        Condition::Present(true) => Some(row.is_some()),
        Condition::Value(value) => Some(row.is_some_and(|row| row.value == value)),
        Condition::Revision(revision) => Some(row.is_some_and(|row| row.revision == *revision)),
        Condition::Absent(false) | Condition::Present(false) => None,
    }
}
