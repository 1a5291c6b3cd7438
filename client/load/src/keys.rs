//! Which keys are asked for.

use bytes::Bytes;
use rand::{Rng, RngExt as _};
use rand_distr::{Distribution as _, Zipf};

/// Exponent of the zipf distribution, as in YCSB (Cooper et al., SoCC 2010).
const EXPONENT: f64 = 0.99;

/// Which keys are asked for how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// All as often.
    Uniform,
    /// A few very often: the nth in proportion to 1 / n^0.99.
    Zipf,
}

/// All keys begin so.
pub const PREFIX: &str = "bench/";

/// The key of that number. Keys are in the order of their numbers below 100,000,000.
pub fn key(number: u32) -> Bytes {
    format!("{PREFIX}{number:08}").into()
}

/// Picks numbers of keys.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    count: u32,
    zipf: Option<Zipf<f64>>,
}

impl Keys {
    pub(crate) fn new(distribution: Distribution, count: u32) -> Self {
        let count = count.max(1);
        let zipf = match distribution {
            Distribution::Uniform => None,
            // Of at least one key there is one.
            Distribution::Zipf => Zipf::new(count.into(), EXPONENT).ok(),
        };
        Self { count, zipf }
    }

    /// Below the number of keys.
    pub(crate) fn pick(&self, random: &mut impl Rng) -> u32 {
        match &self.zipf {
            None => random.random_range(0..self.count),
            Some(zipf) => scatter(zipf.sample(random) as u64, self.count),
        }
    }
}

/// The keys that are asked for often shall not be neighbours: they would all be in one block of a table.
fn scatter(rank: u64, count: u32) -> u32 {
    // The finalizer of SplitMix64.
    let mut mixed = rank.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) % u64::from(count)) as u32
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    /// How often each of 1,000 keys is picked in 100,000 picks, most often first.
    fn picked(distribution: Distribution) -> Vec<u32> {
        let (keys, mut random) = (Keys::new(distribution, 1_000), StdRng::seed_from_u64(7));
        let mut counts = vec![0; 1_000];
        (0..100_000).for_each(|_| counts[keys.pick(&mut random) as usize] += 1);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    }

    #[test]
    fn uniform_keys_are_picked_as_often_and_of_zipf_a_few_very_often() {
        let uniform = picked(Distribution::Uniform);
        assert!(uniform[0] < 160 && uniform[999] > 50, "{} to {}", uniform[999], uniform[0]);
        let zipf = picked(Distribution::Zipf);
        // The first of 1,000 has 1 / H(1,000, 0.99) of all: 12.7 %.
        assert!((11_500..18_000).contains(&zipf[0]), "{}", zipf[0]);
        assert!(zipf[..10].iter().sum::<u32>() > 30_000);
    }

    #[test]
    fn one_key_is_always_the_same() {
        let mut random = StdRng::seed_from_u64(7);
        for distribution in [Distribution::Uniform, Distribution::Zipf] {
            assert_eq!(Keys::new(distribution, 1).pick(&mut random), 0);
        }
    }

    #[test]
    fn keys_are_in_the_order_of_their_numbers() {
        assert!(key(9) < key(10) && key(99_999) < key(100_000) && key(7).as_ref() == b"bench/00000007");
    }
}
