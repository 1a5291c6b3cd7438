//! Pending writes above a view: what the entries of one apply batch have written so far, so that each entry sees what
//! those before it did. Knows no kind of row.

use std::{
    collections::BTreeMap,
    ops::{Bound, ControlFlow},
};

use bytes::Bytes;

use crate::view::{View, ViewError, Visit, Write};

/// A view with writes on top of it.
///
/// A delete-range hides the rows below it and drops the earlier writes of single rows inside it; later writes of single
/// rows lie above it. So the ranges can always be written first and the single rows behind them. It is as large as the
/// batch of entries it serves, which whoever makes the batch bounds.
#[derive(Debug)]
pub struct Overlay<'a, V: View + ?Sized> {
    below: &'a V,
    /// The newest write of each row; `None` deletes it.
    rows: BTreeMap<Bytes, Option<Bytes>>,
    /// Deleted ranges, start to end; they neither overlap nor touch.
    ranges: BTreeMap<Bytes, Bytes>,
}

impl<'a, V: View + ?Sized> Overlay<'a, V> {
    /// No writes yet, above `below`.
    pub fn new(below: &'a V) -> Self {
        Self { below, rows: BTreeMap::new(), ranges: BTreeMap::new() }
    }

    /// Sets a row.
    pub fn put(&mut self, key: Bytes, value: Bytes) {
        self.rows.insert(key, Some(value));
    }

    /// Deletes a row.
    pub fn delete(&mut self, key: Bytes) {
        self.rows.insert(key, None);
    }

    /// Deletes all rows with `start <= key < end`.
    pub fn delete_range(&mut self, start: Bytes, end: Bytes) {
        if start >= end {
            return;
        }
        let mut behind = self.rows.split_off(&start);
        let mut after = behind.split_off(&end);
        self.rows.append(&mut after);

        let (mut from, mut to) = (start, end);
        // All ranges that overlap or touch the new one begin at or before its end; none begins before the one that
        // precedes its start.
        if let Some((first, last)) = self.ranges.range::<Bytes, _>(..=&from).next_back()
            && *last >= from
        {
            from = first.clone();
        }
        let merged: Vec<Bytes> = self.ranges.range::<Bytes, _>(&from..=&to).map(|(first, _)| first.clone()).collect();
        for first in merged {
            if let Some(last) = self.ranges.remove(&first) {
                to = to.max(last);
            }
        }
        self.ranges.insert(from, to);
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.ranges.is_empty()
    }

    /// The writes, in the order in which they must be made.
    pub fn into_writes(self) -> Vec<Write> {
        let ranges = self.ranges.into_iter().map(|(start, end)| Write::DeleteRange { start, end });
        let rows = self.rows.into_iter().map(|(key, value)| match value {
            Some(value) => Write::Put { key, value },
            None => Write::Delete { key },
        });
        ranges.chain(rows).collect()
    }

    /// The deleted range that holds `key`, as its end.
    fn range_over(&self, key: &[u8]) -> Option<&Bytes> {
        let at_or_before = (Bound::Unbounded, Bound::Included(key));
        self.ranges.range::<[u8], _>(at_or_before).next_back().map(|(_, end)| end).filter(|end| key < end.as_ref())
    }

    /// Where the first deleted range behind `key` starts, if that is before `to`.
    fn next_range<'b>(&'b self, key: &[u8], to: &'b [u8]) -> &'b [u8] {
        let behind = (Bound::Excluded(key), Bound::Excluded(to));
        self.ranges.range::<[u8], _>(behind).next().map_or(to, |(start, _)| start.as_ref())
    }
}

impl<V: View + ?Sized> View for Overlay<'_, V> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        match self.rows.get(key) {
            Some(row) => Ok(row.clone()),
            None if self.range_over(key).is_some() => Ok(None),
            None => self.below.get(key),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), ViewError> {
        if from >= to {
            return Ok(());
        }
        let mut pending = self.rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))).peekable();
        let mut at = Bytes::copy_from_slice(from);
        let mut stopped = false;
        // Stretch by stretch of what no deleted range hides, with the pending rows merged in.
        while !stopped && at.as_ref() < to {
            if let Some(end) = self.range_over(&at) {
                at = end.clone();
                continue;
            }
            let stretch_end = self.next_range(&at, to);
            self.below.scan(&at, stretch_end, &mut |key, value| {
                while let Some((pending_key, row)) = pending.next_if(|(pending_key, _)| pending_key.as_ref() < key) {
                    if let Some(row) = row
                        && visit(pending_key, row).is_break()
                    {
                        stopped = true;
                        return ControlFlow::Break(());
                    }
                }
                let flow = match pending.next_if(|(pending_key, _)| pending_key.as_ref() == key) {
                    Some((_, Some(row))) => visit(key, row),
                    Some((_, None)) => ControlFlow::Continue(()),
                    None => visit(key, value),
                };
                stopped = flow.is_break();
                flow
            })?;
            at = Bytes::copy_from_slice(stretch_end);
        }
        if !stopped {
            for (key, row) in pending {
                if let Some(row) = row
                    && visit(key, row).is_break()
                {
                    break;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::MemView;

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, u8),
        Delete(u8),
        DeleteRange(u8, u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..40u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
            1 => (0..40u8).prop_map(Step::Delete),
            1 => (0..40u8, 0..40u8).prop_map(|(start, end)| Step::DeleteRange(start, end)),
        ]
    }

    fn row(byte: u8) -> Bytes {
        Bytes::copy_from_slice(&[byte])
    }

    fn write(step: &Step) -> Write {
        match *step {
            Step::Put(key, value) => Write::Put { key: row(key), value: row(value) },
            Step::Delete(key) => Write::Delete { key: row(key) },
            Step::DeleteRange(start, end) => Write::DeleteRange { start: row(start), end: row(end) },
        }
    }

    fn all(view: &impl View, from: u8, to: u8) -> Vec<(Bytes, Bytes)> {
        let mut rows = Vec::new();
        view.scan(&[from], &[to], &mut |key, value| {
            rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            ControlFlow::Continue(())
        })
        .unwrap();
        rows
    }

    proptest! {
        #[test]
        fn an_overlay_shows_and_writes_what_the_writes_one_by_one_would(
            stored in prop::collection::vec((0..40u8, any::<u8>()), 0..30),
            steps in prop::collection::vec(step(), 0..40),
            from in 0..40u8,
            to in 0..41u8,
        ) {
            let below: MemView = stored.iter().map(|(key, value)| (row(*key), row(*value))).collect();
            let mut model = below.clone();
            let mut overlay = Overlay::new(&below);
            for step in &steps {
                model.write([write(step)]);
                match write(step) {
                    Write::Put { key, value } => overlay.put(key, value),
                    Write::Delete { key } => overlay.delete(key),
                    Write::DeleteRange { start, end } => overlay.delete_range(start, end),
                }
            }
            for key in 0..40u8 {
                prop_assert_eq!(overlay.get(&[key]).unwrap(), model.get(&[key]).unwrap());
            }
            prop_assert_eq!(all(&overlay, from, to), all(&model, from, to));
            prop_assert_eq!(overlay.next(&[from], &[to]).unwrap(), model.next(&[from], &[to]).unwrap());
            let mut written = below.clone();
            written.write(overlay.into_writes());
            prop_assert_eq!(written, model);
        }
    }

    #[test]
    fn a_put_behind_a_delete_range_is_seen_and_one_before_it_is_not() {
        let below: MemView = [(row(3), row(30))].into_iter().collect();
        let mut overlay = Overlay::new(&below);
        overlay.put(row(2), row(20));
        overlay.delete_range(row(1), row(9));
        overlay.put(row(4), row(40));
        assert_eq!(all(&overlay, 0, 99), vec![(row(4), row(40))]);
        assert_eq!(
            overlay.into_writes(),
            vec![Write::DeleteRange { start: row(1), end: row(9) }, Write::Put { key: row(4), value: row(40) },]
        );
    }

    #[test]
    fn a_scan_that_is_stopped_visits_nothing_more() {
        let below: MemView = (0..9).map(|key| (row(key), row(key))).collect();
        let mut overlay = Overlay::new(&below);
        overlay.put(row(1), row(10));
        let mut visited = 0;
        overlay
            .scan(&[0], &[9], &mut |_, _| {
                visited += 1;
                if visited == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        assert_eq!(visited, 2);
    }
}
