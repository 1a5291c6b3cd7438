//! Pieces of bytes at offsets of a file, none over another.

use std::collections::BTreeMap;

use bytes::Bytes;

/// The pieces. The latest put lies on top: it cuts away what was there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extents(BTreeMap<u64, Bytes>);

impl Extents {
    /// Puts bytes at an offset.
    pub fn put(&mut self, offset: u64, data: Bytes) {
        if data.is_empty() {
            return;
        }
        self.clear(offset, offset + data.len() as u64);
        self.0.insert(offset, data);
    }

    /// Takes away all from `from` to before `to`.
    pub fn clear(&mut self, from: u64, to: u64) {
        while let Some((start, data)) = self.last_over(from, to) {
            self.0.remove(&start);
            if start < from {
                self.0.insert(start, data.slice(..(from - start) as usize));
            }
            if start + data.len() as u64 > to {
                self.0.insert(to, data.slice((to - start) as usize..));
            }
        }
    }

    /// The last piece that has a byte of the range.
    fn last_over(&self, from: u64, to: u64) -> Option<(u64, Bytes)> {
        let (start, data) = self.0.range(..to).next_back()?;
        (start + data.len() as u64 > from).then(|| (*start, data.clone()))
    }

    /// Copies what lies over `offset..offset + buffer.len()` into the buffer, and leaves the rest of it as it is.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) {
        let end = offset + buffer.len() as u64;
        for (start, data) in self.0.range(..end).rev() {
            let piece_end = start + data.len() as u64;
            if piece_end <= offset {
                break;
            }
            let (from, to) = ((*start).max(offset), piece_end.min(end));
            let target = &mut buffer[(from - offset) as usize..(to - offset) as usize];
            target.copy_from_slice(&data[(from - start) as usize..(to - start) as usize]);
        }
    }

    /// All pieces, by offset.
    pub fn pieces(&self) -> impl Iterator<Item = (u64, &Bytes)> {
        self.0.iter().map(|(offset, data)| (*offset, data))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_what_an_array_would_hold(
            steps in prop::collection::vec((0usize..60, 0usize..20, prop::option::of(1u8..)), 0..40),
        ) {
            let (mut extents, mut array) = (Extents::default(), [0u8; 80]);
            for (offset, length, byte) in steps {
                match byte {
                    Some(byte) => extents.put(offset as u64, vec![byte; length].into()),
                    None => extents.clear(offset as u64, (offset + length) as u64),
                }
                array[offset..offset + length].fill(byte.unwrap_or(0));
                for from in [0, 7, 30] {
                    let mut read = vec![0; 50];
                    extents.read(from, &mut read);
                    prop_assert_eq!(&read[..], &array[from as usize..from as usize + 50]);
                }
                let starts: Vec<_> = extents.pieces().map(|(at, data)| (at, at + data.len() as u64)).collect();
                prop_assert!(starts.windows(2).all(|pair| pair[0].1 <= pair[1].0), "none over another");
                prop_assert!(starts.iter().all(|(from, to)| from < to), "none is empty");
            }
        }
    }
}
