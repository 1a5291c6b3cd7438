//! A small seeded generator (SplitMix64, Steele et al. 2014), so that one seed gives one run.

#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to below `high`; `low` when the range is empty.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        match high.saturating_sub(low) {
            0 => low,
            width => low + (self.next() % width as u64) as usize,
        }
    }
}
