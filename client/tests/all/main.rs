//! The client against nodes that answer as a test's script says.
#![allow(missing_docs)]

mod batch;
mod fake;
mod pipe;
mod retries;
mod routing;
mod scan;
