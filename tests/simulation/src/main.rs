//! `granary-simulate`: runs worlds by hand, and replays one.
#![allow(clippy::print_stdout, reason = "it is a command line program")]

use std::{collections::BTreeMap, process::ExitCode, time::Instant};

use clap::Parser;
use granary_simulation::run::run;

/// Runs simulated worlds, each from its own seed.
#[derive(Parser)]
struct Options {
    /// First seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// Stop behind so many simulated hours.
    #[arg(long)]
    hours: Option<f64>,
    /// Stop at the first world that fails.
    #[arg(long)]
    first: bool,
    /// Run this one seed only.
    #[arg(long)]
    replay: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let (first, seeds) = options.replay.map_or((options.seed, options.seeds), |seed| (seed, 1));
    let begin = Instant::now();
    let (mut counts, mut hours, mut failed) = (BTreeMap::<&str, u64>::new(), 0.0, Vec::new());
    let (mut longest_gap, mut longest_finish, mut operations, mut worlds) = (0, 0, 0, 0);
    std::panic::set_hook(Box::new(|_| {}));
    for seed in first..first + seeds {
        match run(seed) {
            Ok(outcome) => {
                worlds += 1;
                hours += outcome.simulated_ns as f64 / 3.6e12;
                operations += outcome.operations;
                longest_gap = longest_gap.max(outcome.longest_gap_ns);
                longest_finish = longest_finish.max(outcome.finished_ns);
                outcome.counts.into_iter().for_each(|(kind, times)| *counts.entry(kind).or_default() += times);
                if options.replay.is_some() {
                    println!("seed {seed}: trace {:016x}, {} events", outcome.trace, outcome.happened);
                }
            }
            Err(error) => {
                println!("seed {seed} FAILED: {error}\nreplay: granary-simulate --replay {seed}");
                failed.push(seed);
            }
        }
        let enough = options.hours.is_some_and(|limit| hours >= limit);
        if enough || (options.first && !failed.is_empty()) {
            break;
        }
    }
    for (kind, times) in &counts {
        println!("{times:>10} {kind}");
    }
    println!(
        "{worlds} worlds, {hours:.2} simulated hours, {operations} operations, in {:.1} s; behind the end of faults: longest \
         time without an answer {:.1} s, until all was finished {:.1} s",
        begin.elapsed().as_secs_f64(),
        longest_gap as f64 / 1e9,
        longest_finish as f64 / 1e9
    );
    println!("failed: {failed:?}");
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
