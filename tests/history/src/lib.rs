//! Histories of clients: recorded while a cluster is tormented, saved with what replays them, and checked.
//!
//! * [`Recorder`] collects operations from any thread, with the clock of the machine or of a simulation.
//! * [`check`] says whether every key is linearizable, with an explanation when not. An operation has one of three
//!   outcomes: done, surely not done, unknown; the last may take effect at any later time or never. What takes too many
//!   steps is undecided, never good.
//! * [`final_reads`] says whether every acknowledged write is in what was read last, and nothing twice.
//! * [`check_revisions`] says whether the revisions of a whole shard grow in the order of its writes.
//! * [`verify`] does the first two of these at the end of a test, and saves what is not good.
//! * [`History::save`] writes JSON lines, the first with seed and command. `cargo run --release -p granary-history
//!   --example check -- FILE` checks such a file.
//!
//! It must not know how operations are sent, what is injected, or what a node is. Reads that may be stale are not to be
//! recorded: they promise something else.

mod check;
mod display;
mod explain;
mod fast;
mod file;
mod finals;
mod history;
mod model;
mod operation;
mod recorder;
mod revisions;
mod search;
mod verdict;
mod verify;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod known_bad_tests;
#[cfg(test)]
mod known_good_tests;
#[cfg(test)]
mod naive_tests;
#[cfg(test)]
mod property_tests;

pub use check::{Budget, check};
pub use file::FileError;
pub use finals::{Finals, final_reads};
pub use history::{History, InvalidHistory, Origin};
pub use operation::{Action, Answer, Change, Expected, Held, Kind, Operation, Outcome, UNREADABLE};
pub use recorder::{Full, Recorder, Ticket};
pub use revisions::{RevisionReport, check_revisions};
pub use verdict::{Report, Verdict, Violation};
pub use verify::{NotGood, Refused, Verified, verify};
