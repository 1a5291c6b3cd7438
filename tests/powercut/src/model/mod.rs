//! What a disk remembers, as pure values: no file, no clock, no thread. What survives a cut is a function of what was
//! not synced and of a seed.

pub mod after_cut;
pub mod extents;
pub mod faults;
pub mod glob;
pub mod journal;
pub mod names_log;
pub mod pending;
pub mod random;
pub mod space;
pub mod tree;

#[cfg(test)]
mod after_cut_tests;
#[cfg(test)]
mod journal_tests;
#[cfg(test)]
mod pending_tests;
