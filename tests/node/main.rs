//! One level of tests: what single node processes promise to operators and clients over real gRPC. The faults of whole
//! clusters are in `tests/cluster/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod bad_input;
mod disk;
mod large_values;
mod level;
mod lock;
mod ports;
mod retries;
mod slow_reader;
