//! Values that nobody can compress, neither one by one nor many together, and that cost nothing to make.

use bytes::Bytes;
use rand::{Rng, RngExt as _};

/// Random bytes beyond the length of one value: so many values differ from each other, more or less.
const POOL: u32 = 1 << 20;

/// Draws values of one length: parts of a pool of random bytes.
#[derive(Clone, Debug)]
pub struct Values {
    pool: Bytes,
    size: u32,
}

impl Values {
    /// For values of `size` bytes.
    pub fn new(size: u32) -> Self {
        Self { pool: (0..size.saturating_add(POOL)).map(|_| rand::random::<u8>()).collect(), size }
    }

    /// Some value.
    pub fn any(&self) -> Bytes {
        self.draw(&mut rand::rng())
    }

    /// Some value, by these random numbers. No bytes are copied.
    pub fn draw(&self, random: &mut impl Rng) -> Bytes {
        let size = self.size as usize;
        let at = random.random_range(0..=self.pool.len() - size);
        self.pool.slice(at..at + size)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn values_have_their_length_and_differ() {
        let values = Values::new(256);
        let drawn: BTreeSet<Bytes> = (0..1_000).map(|_| values.any()).collect();
        assert!(drawn.len() > 990 && drawn.iter().all(|value| value.len() == 256), "{}", drawn.len());
        assert_eq!(Values::new(0).any().len(), 0);
    }
}
