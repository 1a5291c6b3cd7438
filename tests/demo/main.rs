//! `make demo`: what a newcomer runs first. Starts a cluster from one file, loads real data, scales, kills, wipes, shrinks
//! and cuts the power of all nodes, while a writer writes; checks every acknowledged write; ends with a table.

mod input;
mod report;
mod steps;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

/// Shows what Granary promises, on this machine.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  granary-demo\n  granary-demo --short\n  granary-demo --kills 20\n  granary-demo --dir /tmp/granary-demo --keep"
)]
struct Args {
    /// A shorter run: less data, 16 shards
    #[arg(long)]
    short: bool,
    /// Where it works; the cluster in it is removed at the end
    #[arg(long, default_value = "target/demo")]
    dir: PathBuf,
    /// How often the busiest node is killed in the fourth step; the gaps of all are noted
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    kills: u32,
    /// Leave the cluster running at the end
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let mut report = report::Report::default();
    let outcome = steps::run(&args, &mut report).await;
    report.ok = outcome.is_ok() && report.lost == 0;
    if let Err(error) = report.save(&args.dir.join("report.json")) {
        eprintln!("demo: {error}");
        return ExitCode::FAILURE;
    }
    println!("{}", report.table());
    match outcome {
        Ok(()) if report.ok => ExitCode::SUCCESS,
        Ok(()) => {
            eprintln!("demo: {} acknowledged writes were lost", report.lost);
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("demo: {error}");
            eprintln!("demo: the nodes' logs are in {}", args.dir.join("cluster/logs").display());
            ExitCode::FAILURE
        }
    }
}
