//! `make bench`: Granary beside etcd on one machine and one disk, driven by one generator, in turn.
//!
//! ```text
//! args ──► parts ──► Ours, Etcd (System) ──► rounds, failovers, grow, idle ──► report.json, docs/performance.md
//!            └────► Ours alone ──► growth, shards, memory, flame ──► the same, docs/flame-*.svg
//! ```

mod args;
mod disk;
mod error;
mod etcd;
mod failovers;
mod figures;
mod filling;
mod flame;
mod gaps;
mod grow;
mod growth;
mod idle;
mod limits;
mod machine;
mod memory;
mod ours;
mod page;
mod parts;
mod patience;
mod profile;
mod report;
mod rounds;
mod shards;
mod small;
mod system;
mod usage;

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    match parts::run(args::Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
