//! A range of the user's keys as it lies in each slot. Rows sort by slot first, so a range of keys is one range of rows
//! a slot.

use bytes::Bytes;
use granary_common::{SLOTS, crc16};

use crate::rows::{self, RowError};

/// The slot of all keys with this tag: what is between the braces of a key, without them.
pub fn tag_slot(tag: &[u8]) -> u16 {
    crc16(tag) % SLOTS
}

/// Keys `start <= key < end`; an empty `end` is no bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds<'a> {
    pub start: &'a [u8],
    pub end: &'a [u8],
}

/// Where a row lies.
#[derive(Debug)]
pub(super) enum Place<'r> {
    /// Inside the bounds.
    Inside { slot: u16, key: &'r [u8] },
    /// Outside; the next row that can be inside is not before this one.
    Skip(Bytes),
}

impl Bounds<'_> {
    /// Whether there are no bounds.
    pub fn is_everything(&self) -> bool {
        self.start.is_empty() && self.end.is_empty()
    }

    /// First row inside the bounds in `slot`.
    pub fn first_row(&self, slot: u16) -> Bytes {
        rows::data_key_in(slot, self.start)
    }

    /// One behind the last row inside the bounds in `slot`.
    pub fn end_row(&self, slot: u16) -> Bytes {
        if self.end.is_empty() { rows::data_key_in(slot + 1, &[]) } else { rows::data_key_in(slot, self.end) }
    }

    /// Where this row lies. Following [`Place::Skip`] visits all rows inside, without a look at slots that are empty.
    pub fn place<'r>(&self, row: &'r [u8]) -> Result<Place<'r>, RowError> {
        let (slot, key) = rows::decode_data_key(row)?;
        Ok(if key < self.start {
            Place::Skip(self.first_row(slot))
        } else if !self.end.is_empty() && key >= self.end {
            Place::Skip(self.first_row(slot + 1))
        } else {
            Place::Inside { slot, key }
        })
    }
}
