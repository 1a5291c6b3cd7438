//! The scenarios: Granary as its users meet it, on a real Kubernetes that this program brings up and takes down itself.
//!
//! ```text
//! make test-kubernetes                                  all of them
//! cargo test --release --locked --workspace --test kubernetes -- scale    those with "scale" in their names
//!   --list            names them
//!   --keep            leaves the Kubernetes up afterwards
//!   --attach          uses the one that is up, and leaves it up: the quick way while writing a scenario
//!   --instance NAME   which one; default: GRANARY_KUBERNETES_INSTANCE, or `tests`
//!   --lanes N         how many Kubernetes side by side; default: GRANARY_KUBERNETES_LANES, or 2. 1 for figures
//!   GRANARY_KUBERNETES_RUNS=N    how often what is measured is done; the median counts; default: 3
//! ```
//!
//! The program runs twice: `outside` brings a Kubernetes up for each lane, starts this program again in its control plane's
//! network, waits and takes everything down; `inside` runs scenarios one after another, as long as the `queue` that the lanes
//! share has one, where the API server and the pods are reached.
//! A scenario gets a [`scene::Scene`] with namespaces of its own and gives figures or a failure; it need not clean up.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Helpers that no scenario uses yet.
#![allow(dead_code, unused_imports)]

mod cluster;
mod commands;
mod data;
mod evidence;
mod failure;
mod faults;
mod figures;
mod gate;
mod helm;
mod inside;
mod kubectl;
mod machines;
mod operator;
mod options;
mod outside;
mod pod_watch;
mod progress;
mod queue;
mod report;
mod scenarios;
mod scene;
mod tidy;

use std::process::ExitCode;

use crate::{options::Options, scenarios::Scenario};

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(refusal) => {
            eprintln!("kubernetes: {refusal}");
            return ExitCode::from(2);
        }
    };
    let wanted: Vec<&Scenario> = scenarios::all().filter(|scenario| options.wants(scenario.name)).collect();
    if options.list {
        wanted.iter().for_each(|scenario| println!("{}: test", scenario.name));
        return ExitCode::SUCCESS;
    }
    if wanted.is_empty() {
        println!("\nrunning 0 scenarios on Kubernetes");
        return ExitCode::SUCCESS;
    }
    report::of_instance(&options.instance);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let code = if options.inside {
        runtime.block_on(inside::run(&wanted, options.lane))
    } else {
        runtime.block_on(outside::run(&options, &wanted))
    };
    // What a scenario that failed left running ends with the process.
    runtime.shutdown_background();
    code
}
