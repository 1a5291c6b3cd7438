//! Deletes a range of keys.

use std::{mem, ops::ControlFlow};

use bytes::Bytes;
use granary_common::routed_part;
use granary_proto::storage::{DeleteRangeBody, ShardState};

use super::bounds::{Bounds, Place, tag_slot};
use crate::{
    errors::ApplyError,
    overlay::Overlay,
    rows::{self, DataRow, RowError},
    shard,
    view::View,
};

/// Deletes the keys of `body` that this shard has. Whether there were any.
pub(super) fn delete_range<V: View + ?Sized>(
    overlay: &mut Overlay<'_, V>,
    state: &mut ShardState,
    body: &DeleteRangeBody,
) -> Result<bool, ApplyError> {
    let bounds = Bounds { start: &body.start, end: &body.end };
    if body.tag.is_empty() { of_shard(overlay, state, bounds) } else { of_tag(overlay, state, bounds, &body.tag) }
}

/// One delete-range for each slot that has a row inside the bounds, found by a seek each; so at most one a slot,
/// however many rows they hold.
fn of_shard<V: View + ?Sized>(
    overlay: &mut Overlay<'_, V>,
    state: &mut ShardState,
    bounds: Bounds<'_>,
) -> Result<bool, ApplyError> {
    let all = rows::data_range(shard::range(state));
    if bounds.is_everything() {
        let existed = first_row(overlay, &all.start, &all.end)?.is_some();
        overlay.delete_range(all.start, all.end);
        state.bytes = 0;
        return Ok(existed);
    }
    let mut existed = false;
    let mut from = all.start;
    while let Some(row) = first_row(overlay, &from, &all.end)? {
        from = match bounds.place(&row)? {
            Place::Skip(next) => next,
            Place::Inside { slot, .. } => {
                existed = true;
                overlay.delete_range(row.clone(), bounds.end_row(slot));
                bounds.first_row(slot + 1)
            }
        };
    }
    Ok(existed)
}

/// The keys of one tag share a slot with those of other tags, which stay. Rows of the tag that follow each other are one
/// delete-range, so the number of writes is bounded by the foreign rows between them, not by the rows of the tag.
fn of_tag<V: View + ?Sized>(
    overlay: &mut Overlay<'_, V>,
    state: &mut ShardState,
    bounds: Bounds<'_>,
    tag: &[u8],
) -> Result<bool, ApplyError> {
    let slot = tag_slot(tag);
    let mut runs = Runs::default();
    let mut failed = None;
    overlay.scan(
        &bounds.first_row(slot),
        &bounds.end_row(slot),
        &mut |row, value| match runs.visit(row, value, tag) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    runs.close();
    state.bytes = state.bytes.saturating_sub(runs.bytes);
    let existed = !runs.done.is_empty();
    for Run { first, last } in runs.done {
        if first == last { overlay.delete(first) } else { overlay.delete_range(first, rows::after(&last)) }
    }
    Ok(existed)
}

/// Rows of one tag that follow each other.
struct Run {
    first: Bytes,
    last: Bytes,
}

#[derive(Default)]
struct Runs {
    done: Vec<Run>,
    open: Option<(Bytes, Vec<u8>)>,
    bytes: u64,
}

impl Runs {
    fn visit(&mut self, row: &[u8], value: &[u8], tag: &[u8]) -> Result<(), RowError> {
        let (_, key) = rows::decode_data_key(row)?;
        if routed_part(key) != tag {
            self.close();
            return Ok(());
        }
        let (_, value) = DataRow::decode_slice(value)?;
        self.bytes += (key.len() + value.len()) as u64;
        match &mut self.open {
            // The buffer of the last row is used again: a run may be long.
            Some((_, last)) => {
                last.clear();
                last.extend_from_slice(row);
            }
            None => self.open = Some((Bytes::copy_from_slice(row), row.to_vec())),
        }
        Ok(())
    }

    fn close(&mut self) {
        if let Some((first, last)) = mem::take(&mut self.open) {
            self.done.push(Run { first, last: last.into() });
        }
    }
}

/// Key of the first row in `[from, to)`, without a copy of its value.
fn first_row(view: &(impl View + ?Sized), from: &[u8], to: &[u8]) -> Result<Option<Bytes>, ApplyError> {
    let mut found = None;
    view.scan(from, to, &mut |row, _| {
        found = Some(Bytes::copy_from_slice(row));
        ControlFlow::Break(())
    })?;
    Ok(found)
}
