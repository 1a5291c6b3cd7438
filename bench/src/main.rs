//! `make bench`: Granary beside etcd on one machine and one disk, driven by one generator, in turn.
//!
//! ```text
//! args ──► Ours, Etcd (System) ──► rounds, gaps, grow, idle ──► report.json, docs/performance.md
//! ```

mod args;
mod error;
mod etcd;
mod figures;
mod gaps;
mod grow;
mod idle;
mod limits;
mod machine;
mod ours;
mod page;
mod parts;
mod patience;
mod report;
mod rounds;
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
