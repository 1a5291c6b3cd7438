//! A load generator: who asks for what, when, and how long the answers took. What is asked is behind [`Target`], so that
//! two systems can be driven by the same code. It must not know what system that is, nor where figures are written.
//!
//! ```text
//! Plan ──► clients, each: Schedule (when) ──► Choice (what) ──► Target ──► Recorder ──► Outcome
//! ```

mod choice;
mod keys;
mod outcome;
mod plan;
mod recorder;
mod run;
mod schedule;
mod target;
mod values;

pub use keys::{Distribution, PREFIX, key};
pub use outcome::Outcome;
pub use plan::{Kind, Plan};
pub use run::{Seen, fill, run};
pub use target::{Op, Target};
pub use values::Values;
