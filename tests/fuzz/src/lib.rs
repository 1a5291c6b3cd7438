//! What the fuzz tests of decoders share. Each crate fuzzes its own decoders; this one knows none of them.
//!
//! ```text
//! wire::message()   bytes that are formed like an encoded message, with fields of any number
//! damage::damages() what becomes of good bytes: bits flipped, cut, more behind them, pieces moved
//! memory::bounded() fails when more is allocated than so many times the input
//! ```
//!
//! `GRANARY_FUZZ_CASES` asks for more cases, by hand:
//! `make fuzz CASES=100000`.
#![allow(clippy::panic, reason = "it is for tests, which fail by panicking")]

pub mod damage;
pub mod memory;
pub mod wire;

use proptest::prelude::ProptestConfig;

/// So many cases, unless `GRANARY_FUZZ_CASES` or `PROPTEST_CASES` says otherwise.
pub fn cases(default: u32) -> ProptestConfig {
    let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let cases = asked("GRANARY_FUZZ_CASES").or_else(|| asked("PROPTEST_CASES")).unwrap_or(default);
    ProptestConfig { cases, ..ProptestConfig::default() }
}
