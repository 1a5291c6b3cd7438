//! The client against nodes that answer as a test's script says.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod batch;
mod fake;
mod forward;
mod pipe;
mod retries;
mod routing;
mod scan;
