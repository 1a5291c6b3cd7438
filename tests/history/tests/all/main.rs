//! The crate as a harness uses it: recording, saving, checking, and how fast that is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod damaged;
mod files;
mod finals;
mod recording;
mod revisions;
mod speed;
mod world;
