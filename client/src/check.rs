//! Refuses requests that no server would take, before they cost a trip. The servers check again.

use granary_common::{
    limits::{MAX_BATCH, MAX_BATCH_OPERATIONS, MAX_KEY, MAX_VALUE},
    slot_of,
};

use crate::{Change, Error, Expected, Guard, Result, Write};

/// An [`Error::Invalid`].
pub(crate) fn invalid(field: &str, message: String) -> Error {
    Error::Invalid { field: field.to_owned(), message }
}

/// 1 to 4,096 bytes.
pub(crate) fn key(key: &[u8]) -> Result<()> {
    match key.len() {
        1..=MAX_KEY => Ok(()),
        length => Err(invalid("key", format!("has {length} bytes; allowed are 1 to {MAX_KEY}"))),
    }
}

/// Up to 4 MiB.
pub(crate) fn value(value: &[u8]) -> Result<()> {
    match value.len() {
        0..=MAX_VALUE => Ok(()),
        length => Err(invalid("value", format!("has {length} bytes; allowed are up to {MAX_VALUE}"))),
    }
}

/// A change's value.
pub(crate) fn change(change: &Change) -> Result<()> {
    match change {
        Change::Put(bytes) => value(bytes),
        Change::Delete => Ok(()),
    }
}

/// A key and its condition.
pub(crate) fn expected(expected: &Expected) -> Result<()> {
    match expected {
        Expected::Revision(0) => Err(invalid("revision", "is 0; allowed is 1 and up (0 is no revision)".to_owned())),
        Expected::Value(bytes) => value(bytes),
        _ => Ok(()),
    }
}

/// Each write of a batch by itself; the batch may be of any length, because it is split.
pub(crate) fn writes(writes: &[Write]) -> Result<()> {
    writes.iter().try_for_each(|write| key(&write.key).and_then(|()| change(&write.change)))
}

/// A transaction: at least one write or guard, within the limits, all keys in one slot. Gives the slot.
pub(crate) fn txn(guards: &[Guard], changes: &[Write]) -> Result<u16> {
    for (field, length) in [("guards", guards.len()), ("writes", changes.len())] {
        if length > MAX_BATCH_OPERATIONS {
            return Err(invalid(field, format!("are {length}; allowed are up to {MAX_BATCH_OPERATIONS}")));
        }
    }
    writes(changes)?;
    guards.iter().try_for_each(|guard| key(&guard.key).and_then(|()| expected(&guard.expected)))?;
    let guarded = guards.iter().map(|guard| match &guard.expected {
        Expected::Value(value) => guard.key.len() + value.len(),
        _ => guard.key.len(),
    });
    let bytes: usize = guarded.chain(changes.iter().map(Write::weight)).sum();
    if bytes > MAX_BATCH {
        return Err(invalid("writes", format!("and guards have {bytes} bytes; allowed are up to {MAX_BATCH}")));
    }
    let mut keys = guards.iter().map(|guard| &guard.key).chain(changes.iter().map(|write| &write.key));
    let Some(first) = keys.next() else {
        return Err(invalid("writes", "and guards are empty; give at least one".to_owned()));
    };
    let slot = slot_of(first);
    match keys.find(|key| slot_of(key) != slot) {
        None => Ok(slot),
        Some(other) => Err(invalid(
            "key",
            format!(
                "{:?} is in slot {} but {:?} in slot {slot}; keys of one transaction must share a slot: give them a \
                 common {{tag}}",
                String::from_utf8_lossy(other),
                slot_of(other),
                String::from_utf8_lossy(first),
            ),
        )),
    }
}
