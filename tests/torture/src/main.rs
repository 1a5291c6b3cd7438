//! `make torture`: real processes under many faults at once, with clients whose every answer is checked.
//!
//! The operator's real loop runs nodes as processes; a nemesis kills, stops, cuts off, wipes, fills, drains and scales,
//! all from one seed; then everything heals, and must get finished. Faults are only such as the promises cover: one
//! copy is destroyed at a time, and no other until every replica is whole again.

mod calm;
mod clients;
mod cluster;
mod cuts;
mod disks;
mod faults;
mod finish;
mod inside;
mod keys;
mod kind;
mod load;
mod logs;
mod nemesis;
mod network;
mod operate;
mod plan;
mod probes;
mod progress;
mod replicas;
mod report;
mod run;
mod shim;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, ValueEnum as _};
use granary_tests::{HarnessError, Result};

use crate::{kind::Kind, report::Report};

const EXAMPLES: &str = "\
Examples:
  granary-torture
  granary-torture --minutes 5 --seed 7
  granary-torture --minutes 2 --only kill,one_way,disk_stall

Needs Linux and root; `scripts/setup torture` installs the rest. The report is in DIR/report.json, and when something is
wrong, the history in DIR/history.jsonl and the nodes' logs in DIR/cluster/logs.";

/// Tortures a cluster on this machine, and checks every answer.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
struct Args {
    /// Decides which faults happen when, and what clients do; without it, a random one, which is printed
    #[arg(long)]
    seed: Option<u64>,
    /// How long faults go on: 0.1 to 10,000
    #[arg(long, default_value_t = 60.0, value_parser = minutes)]
    minutes: f64,
    /// Only these kinds of faults, comma separated
    #[arg(long, value_delimiter = ',', value_name = "KIND,..")]
    only: Vec<Kind>,
    /// Data shards: a power of two
    #[arg(long, default_value_t = 8)]
    shards: u32,
    /// Where it works; what a failed run left there is removed by the next
    #[arg(long, default_value = "target/torture")]
    dir: PathBuf,
    /// Disks say that they have synced, and have not: after a power cut, this must be found out
    #[arg(long, hide = true)]
    lying_disks: bool,
}

impl Args {
    /// Of which every kind has to happen.
    fn wanted(&self) -> BTreeSet<Kind> {
        if self.only.is_empty() {
            Kind::value_variants().iter().copied().collect()
        } else {
            self.only.iter().copied().collect()
        }
    }

    /// The command that runs the same plan again.
    fn replay(&self, seed: u64) -> String {
        let only: Vec<String> = self.only.iter().map(|kind| kind.name()).collect();
        let only = if only.is_empty() { String::new() } else { format!(" --only {}", only.join(",")) };
        format!("granary-torture --seed {seed} --minutes {} --shards {}{only}", self.minutes, self.shards)
    }
}

fn minutes(text: &str) -> std::result::Result<f64, String> {
    let minutes = text.parse().ok().filter(|minutes| (0.1..=10_000.0).contains(minutes));
    minutes.ok_or_else(|| format!("{text} is not a number from 0.1 to 10,000"))
}

fn main() -> ExitCode {
    if let Some(run) = std::env::var_os(shim::RUN) {
        eprintln!("torture: {}", shim::become_node(Path::new(&run)));
        return ExitCode::FAILURE;
    }
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new().map_err(|error| HarnessError::because("starting", error));
    match runtime.and_then(|runtime| runtime.block_on(start(&args))) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("torture: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn start(args: &Args) -> Result<ExitCode> {
    if inside::is_inside() {
        return torture(args).await;
    }
    inside::available()?;
    let mut own: Vec<String> = std::env::args().skip(1).collect();
    if args.seed.is_none() {
        own.extend(["--seed".to_owned(), rand::random_range(1..1_000_000_000u64).to_string()]);
    }
    let status = inside::run(&own).await?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

async fn torture(args: &Args) -> Result<ExitCode> {
    let seed = args.seed.unwrap_or(1);
    let failed = |error| HarnessError::because(args.dir.display(), error);
    std::fs::create_dir_all(&args.dir).map_err(failed)?;
    let dir = args.dir.canonicalize().map_err(failed)?;
    let _lock = inside::lock(&dir)?;
    eprintln!("torture: seed {seed}; replay: {}", args.replay(seed));
    let mut report = Report { seed, minutes: args.minutes, ..Report::default() };
    let wanted = args.wanted();
    let outcome = tokio::select! {
        outcome = run::run(args, seed, &wanted, &dir, &mut report) => outcome,
        stopped = inside::asked_to_stop() => stopped.and(Err(HarnessError("asked to stop".into()))),
    };
    if let Err(error) = outcome {
        report.failures.push(error.to_string());
    }
    report.ok = report.failures.is_empty() && report.lost == 0 && report.violations == 0;
    report.save(&dir.join("report.json"))?;
    report.print();
    if report.ok {
        run::remove(&dir)?;
    } else {
        eprintln!("torture: replay: {}", args.replay(seed));
        eprintln!("torture: the nodes' logs are in {}", args.dir.join("cluster/logs").display());
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
