//! How full the disk is. Files take whole blocks, as long as anything live refers to them.

/// Bytes of a block.
pub const BLOCK: u64 = 4096;

/// Used bytes against a capacity that may change at any time, also to below what is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    used: u64,
}

/// The disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Bytes that so many bytes of a file take.
pub fn blocks_of(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK).saturating_mul(BLOCK)
}

impl Space {
    /// Bytes that are used.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Bytes that are free.
    pub fn free(&self, capacity: u64) -> u64 {
        capacity.saturating_sub(self.used)
    }

    /// Something that held `from` bytes holds `to` bytes now.
    ///
    /// # Errors
    /// It would grow by more than is free: then nothing changes.
    pub fn resize(&mut self, from: u64, to: u64, capacity: u64) -> Result<(), Full> {
        let (from, to) = (blocks_of(from), blocks_of(to));
        if to > from && to - from > self.free(capacity) {
            return Err(Full);
        }
        self.used = self.used.saturating_sub(from).saturating_add(to);
        Ok(())
    }

    /// Up to how many bytes something that holds `from` bytes can grow.
    pub fn room(&self, from: u64, capacity: u64) -> u64 {
        let free = self.free(capacity);
        blocks_of(from).saturating_add(free - free % BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_take_whole_blocks_and_give_them_back() {
        let mut space = Space::default();
        assert_eq!(space.resize(0, 1, 2 * BLOCK), Ok(()));
        assert_eq!(space.used(), BLOCK);
        assert_eq!(space.resize(1, BLOCK, 2 * BLOCK), Ok(()));
        assert_eq!(space.used(), BLOCK);
        assert_eq!(space.room(BLOCK, 2 * BLOCK), 2 * BLOCK);
        assert_eq!(space.resize(BLOCK, 2 * BLOCK + 1, 2 * BLOCK), Err(Full));
        assert_eq!(space.used(), BLOCK);
        assert_eq!(space.resize(BLOCK, 0, 0), Ok(()), "giving back is always possible");
        assert_eq!(space.used(), 0);
    }

    #[test]
    fn a_capacity_below_what_is_used_leaves_nothing_free() {
        let mut space = Space::default();
        assert_eq!(space.resize(0, 10 * BLOCK, u64::MAX), Ok(()));
        assert_eq!(space.free(BLOCK), 0);
        assert_eq!(space.room(3, BLOCK), BLOCK);
    }
}
