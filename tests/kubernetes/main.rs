//! The scenarios: Granary as its users meet it, on a real Kubernetes that this program brings up and takes down itself.
//!
//! ```text
//! make test-kubernetes                                  all of them
//! cargo test --release --locked --workspace --test kubernetes -- scale    those with "scale" in their names
//!   --list            names them
//!   --keep            leaves the Kubernetes up afterwards
//!   --attach          uses the one that is up, and leaves it up: the quick way while writing a scenario
//!   --instance NAME   which one; default: GRANARY_KUBERNETES_INSTANCE, or `tests`
//! ```
//!
//! The program runs twice: `outside` brings Kubernetes up, starts this program again in the control plane's network, waits
//! and takes everything down; `inside` runs the scenarios one after another, where the API server and the pods are reached.
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
        runtime.block_on(inside::run(&wanted))
    } else {
        runtime.block_on(outside::run(&options, &wanted))
    };
    // What a scenario that failed left running ends with the process.
    runtime.shutdown_background();
    code
}
