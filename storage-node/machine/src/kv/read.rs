//! Reads of one key, and what can go wrong in any read.

use granary_common::{SlotRange, slot_of};
use granary_proto::kv::GetResponse;

use crate::{
    rows::{self, DataRow, RowError},
    view::{View, ViewError},
};

/// A read was not done.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The shard does not own the slot of the key or tag.
    #[error("slot {slot} is not of this shard, which owns {range}")]
    WrongRange {
        /// The slot asked for.
        slot: u16,
        /// What the shard owns.
        range: SlotRange,
    },
    /// A row cannot be read back: the node stops.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The store cannot be read: the node stops.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// What `key` holds, by a shard that owns `range`.
pub fn get(view: &(impl View + ?Sized), range: SlotRange, key: &[u8]) -> Result<GetResponse, ReadError> {
    let slot = slot_of(key);
    if !range.contains(slot) {
        return Err(ReadError::WrongRange { slot, range });
    }
    let Some(row) = view.get(&rows::data_key_in(slot, key))? else { return Ok(GetResponse::default()) };
    let DataRow { revision, value } = DataRow::decode(row)?;
    Ok(GetResponse { found: true, value, revision })
}
