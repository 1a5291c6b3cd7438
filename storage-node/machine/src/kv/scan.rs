//! Pages of a scan of one shard.

use std::{collections::BTreeMap, ops::ControlFlow};

use bytes::Bytes;
use granary_common::{
    SLOTS, SlotRange,
    limits::{DEFAULT_PAGE_ROWS, MAX_PAGE_BYTES, MAX_PAGE_ROWS},
    routed_part,
};
use granary_proto::{
    kv::{Row, ScanCursor, ScanOrder, ScanRequest, ScanResponse},
    storage::ShardState,
};

use super::{
    bounds::{Bounds, Place, tag_slot},
    read::ReadError,
};
use crate::{
    rows::{self, DataRow, RowError},
    shard,
    view::View,
};

/// The next page of `request` from the shard whose `state` is from the same view.
///
/// Ends at `page_rows` rows, or behind the row with which keys and values reach 4 MiB; `next` is set exactly when a
/// further row is there. With a tag, keys of other tags in its slot are left out. `shard_id` of the request is not
/// looked at.
pub fn scan_page(
    view: &(impl View + ?Sized),
    state: &ShardState,
    request: &ScanRequest,
) -> Result<ScanResponse, ReadError> {
    let range = shard::range(state);
    let slots = slots_of(range, &request.tag)?;
    let scan = Scan { view, slots, request, bounds: Bounds { start: &request.start, end: &request.end } };
    let (rows, more) = match request.order() {
        ScanOrder::Slot => scan.by_slot()?,
        ScanOrder::Key => scan.by_key()?,
    };
    let cursor = |row: &Row| ScanCursor { slot: granary_common::slot_of(&row.key).into(), key: row.key.clone() };
    let next = if more { rows.last().map(cursor) } else { None };
    Ok(ScanResponse { rows, next, shard_id: state.shard_id, applied_index: state.applied_index })
}

/// The slots of `range` that can hold keys of `tag`.
fn slots_of(range: SlotRange, tag: &[u8]) -> Result<SlotRange, ReadError> {
    if tag.is_empty() {
        return Ok(range);
    }
    let slot = tag_slot(tag);
    if range.contains(slot) {
        Ok(SlotRange { start: slot, end: slot + 1 })
    } else {
        Err(ReadError::WrongRange { slot, range })
    }
}

struct Scan<'a, V: ?Sized> {
    view: &'a V,
    slots: SlotRange,
    request: &'a ScanRequest,
    bounds: Bounds<'a>,
}

/// Rows of a page, and whether there are more behind it.
type Page = (Vec<Row>, bool);

impl<V: View + ?Sized> Scan<'_, V> {
    fn page_rows(&self) -> usize {
        let rows = if self.request.page_rows == 0 { DEFAULT_PAGE_ROWS } else { self.request.page_rows };
        rows.min(MAX_PAGE_ROWS) as usize
    }

    fn has_tag(&self, key: &[u8]) -> bool {
        self.request.tag.is_empty() || routed_part(key) == self.request.tag
    }

    fn row(&self, key: &[u8], value: &[u8]) -> Result<Row, RowError> {
        let (revision, value) = DataRow::decode_slice(value)?;
        let value = if self.request.keys_only { Bytes::new() } else { Bytes::copy_from_slice(value) };
        Ok(Row { key: Bytes::copy_from_slice(key), value, revision })
    }

    /// Slot order. Runs through neighbouring rows, and seeks only over what lies outside the bounds.
    fn by_slot(&self) -> Result<Page, ReadError> {
        let all = rows::data_range(self.slots);
        let mut from = all.start;
        if let Some(cursor) = &self.request.cursor {
            let slot = u16::try_from(cursor.slot).unwrap_or(SLOTS).min(SLOTS);
            from = from.max(rows::after(&rows::data_key_in(slot, &cursor.key)));
        }
        let mut page = Vec::new();
        let mut bytes = 0;
        loop {
            let mut end = End::Shard;
            self.view.scan(&from, &all.end, &mut |row, value| {
                end = match self.bounds.place(row) {
                    Ok(Place::Skip(next)) => End::Skip(next),
                    Ok(Place::Inside { key, .. }) if !self.has_tag(key) => return ControlFlow::Continue(()),
                    Ok(Place::Inside { .. }) if page.len() >= self.page_rows() || bytes >= MAX_PAGE_BYTES => End::Page,
                    Ok(Place::Inside { key, .. }) => match self.row(key, value) {
                        Ok(row) => {
                            bytes += weight(&row);
                            page.push(row);
                            return ControlFlow::Continue(());
                        }
                        Err(error) => End::Failed(error),
                    },
                    Err(error) => End::Failed(error),
                };
                ControlFlow::Break(())
            })?;
            match end {
                End::Skip(next) => from = next,
                End::Shard => return Ok((page, false)),
                End::Page => return Ok((page, true)),
                End::Failed(error) => return Err(error.into()),
            }
        }
    }

    /// Key order over all slots: a seek a slot, each run stopped at the first row that cannot be on the page.
    fn by_key(&self) -> Result<Page, ReadError> {
        let mut page = Smallest { rows: BTreeMap::new(), bytes: 0, limit: self.page_rows(), bound: None };
        let cursor = self.request.cursor.as_ref().map(|cursor| rows::after(&cursor.key));
        let start = cursor.as_deref().map_or(self.bounds.start, |behind| behind.max(self.bounds.start));
        let mut failed = None;
        for slot in self.slots.start..self.slots.end {
            let from = rows::data_key_in(slot, start);
            self.view.scan(&from, &self.bounds.end_row(slot), &mut |row, value| {
                let visited = rows::decode_data_key(row).and_then(|(_, key)| {
                    if page.is_beyond(key) {
                        return Ok(ControlFlow::Break(()));
                    }
                    if self.has_tag(key) {
                        page.add(self.row(key, value)?);
                    }
                    Ok(ControlFlow::Continue(()))
                });
                visited.unwrap_or_else(|error| {
                    failed = Some(error);
                    ControlFlow::Break(())
                })
            })?;
            if let Some(error) = failed {
                return Err(error.into());
            }
        }
        Ok((page.rows.into_values().collect(), page.bound.is_some()))
    }
}

/// Why a run through rows ended.
enum End {
    /// The shard has no more rows.
    Shard,
    /// The page is full, and there is a row behind it.
    Page,
    /// Outside the bounds; go on there.
    Skip(Bytes),
    Failed(RowError),
}

/// The rows with the smallest keys of all that were added, as many as fit on a page.
struct Smallest {
    rows: BTreeMap<Bytes, Row>,
    bytes: usize,
    limit: usize,
    /// The smallest key that did not fit.
    bound: Option<Bytes>,
}

impl Smallest {
    /// Whether this key, and so each behind it, cannot be on the page.
    fn is_beyond(&self, key: &[u8]) -> bool {
        self.bound.as_ref().is_some_and(|bound| key >= bound.as_ref())
    }

    fn add(&mut self, row: Row) {
        self.bytes += weight(&row);
        self.rows.insert(row.key.clone(), row);
        // The page ends behind the row that reaches the limit: what comes behind that row goes.
        while let Some((_, last)) = self.rows.last_key_value() {
            let without = self.bytes - weight(last);
            if self.rows.len() <= self.limit && without < MAX_PAGE_BYTES {
                break;
            }
            self.bytes = without;
            self.bound = self.rows.pop_last().map(|(key, _)| key);
        }
    }
}

fn weight(row: &Row) -> usize {
    row.key.len() + row.value.len()
}
