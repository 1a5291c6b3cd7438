//! One run of a test: its seed, how to replay it, and whether it can run here.

use granary_history::Origin;
use granary_powercut::available_or_skip;
use rand::{SeedableRng as _, rngs::StdRng};

/// See the module. When the test fails it says how to replay it.
pub struct Run {
    pub seed: u64,
    test: String,
}

impl Run {
    /// None where file systems cannot be mounted.
    pub fn begin() -> Option<Self> {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        if !available_or_skip(&test) {
            return None;
        }
        let given = std::env::var("GRANARY_SEED").ok().map(|seed| seed.parse().expect("GRANARY_SEED is a number"));
        let run = Self { seed: given.unwrap_or_else(rand::random), test };
        println!("seed {}; replay: {}", run.seed, run.replay());
        Some(run)
    }

    pub fn replay(&self) -> String {
        let cuts = std::env::var("GRANARY_CUTS").map_or(String::new(), |cuts| format!("GRANARY_CUTS={cuts} "));
        format!(
            "GRANARY_SEED={} {cuts}cargo test --release --workspace --test powercuts -- --exact {} --nocapture",
            self.seed, self.test
        )
    }

    pub fn origin(&self) -> Origin {
        Origin { seed: self.seed, replay: self.replay() }
    }

    /// Choices of this run; another `part` makes others.
    pub fn random(&self, part: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_add(part.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Last part of the test's name, for files.
    pub fn name(&self) -> &str {
        self.test.rsplit("::").next().unwrap_or("test")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}; replay: {}", self.seed, self.replay());
        }
    }
}

/// Whether this run is one by hand, with all there is: `GRANARY_CUTS` of 100 and more.
pub fn is_long() -> bool {
    cuts(40) >= 100
}

/// How often the power of all nodes is cut, of `of_forty` when `GRANARY_CUTS` is 40.
pub fn cuts(of_forty: usize) -> usize {
    let all = std::env::var("GRANARY_CUTS").map_or(40, |cuts| cuts.parse().expect("GRANARY_CUTS is a number"));
    (all * of_forty).div_ceil(40)
}
