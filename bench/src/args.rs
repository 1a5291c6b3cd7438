//! What is asked on the command line.

use std::{path::PathBuf, time::Duration};

use granary_load::Kind;

use crate::rounds::{Load, Manner};

const EXAMPLES: &str = "\
Examples:
  granary-bench
  granary-bench --short
  granary-bench --parts loads --only put,get --rounds 3
  granary-bench --parts failover --failovers 100
  granary-bench --parts growth --growth-keys 1000000,10000000,100000000 --growth-minutes 30
  granary-bench --alone --parts flame --flames target/bench

The figures are in DIR/report.json; with --page they are written into that file too. Both keep what earlier runs wrote of
the other parts.";

const ALL: [&str; 8] = ["loads", "failover", "grow", "idle", "growth", "shards", "memory", "flame"];
/// Of etcd, unless asked otherwise: its elections take longer, and so does a run.
const FAILOVERS_OF_ETCD: u32 = 20;

/// What can be left out.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Puts, gets, batches and scans, and what they cost
    #[default]
    Loads,
    /// How long nothing can be written when a leader is killed, stopped, or hands over
    Failover,
    /// What moving much data takes
    Grow,
    /// What nodes use while nobody asks
    Idle,
    /// What puts and gets cost as keys become more; ours alone
    Growth,
    /// What puts and gets cost as shards become more; ours alone
    Shards,
    /// Memory of nodes that hold much data; ours alone
    Memory,
    /// Where the processors' time goes, by perf; ours alone
    Flame,
}

impl Part {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loads => "loads",
            Self::Failover => "failover",
            Self::Grow => "grow",
            Self::Idle => "idle",
            Self::Growth => "growth",
            Self::Shards => "shards",
            Self::Memory => "memory",
            Self::Flame => "flame",
        }
    }
}

/// Measures Granary beside etcd on this machine.
#[derive(Debug, clap::Parser)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only these parts, comma separated
    #[arg(long, value_enum, value_delimiter = ',', default_values = ALL)]
    pub parts: Vec<Part>,
    /// Only loads of these names, comma separated
    #[arg(long, value_delimiter = ',', value_name = "NAME,..")]
    pub only: Vec<String>,
    /// Rounds of each load
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// Seconds measured of each half round
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// Leaders killed, stopped and handed over, each so often
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub failovers: u32,
    /// The same for etcd's leaders, in the first rounds [default: as for ours, at most 20]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub failovers_of_etcd: Option<u32>,
    /// Data shards of ours
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub shards: u32,
    /// Connections of the clients to each member
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub connections: u32,
    /// MiB that are moved, or held while memory is looked at
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub mib: u64,
    /// Keys with which puts and gets are measured, one stage after the other, comma separated
    #[arg(
        long,
        value_delimiter = ',',
        default_values = ["1000000", "10000000"],
        value_parser = clap::value_parser!(u32).range(1_000..=100_000_000),
        value_name = "KEYS,.."
    )]
    pub growth_keys: Vec<u32>,
    /// Minutes after which no more keys are loaded
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_440))]
    pub growth_minutes: u64,
    /// Numbers of shards with which puts and gets are measured, comma separated
    #[arg(
        long,
        value_delimiter = ',',
        default_values = ["4", "16", "64", "256"],
        value_parser = clap::value_parser!(u32).range(1..=1_024),
        value_name = "SHARDS,.."
    )]
    pub shard_counts: Vec<u32>,
    /// One minute only: two rounds of the main loads
    #[arg(long)]
    pub short: bool,
    /// Without etcd
    #[arg(long)]
    pub alone: bool,
    /// The granary command, with granary-node beside it
    #[arg(long, default_value = "target/release/granary", value_name = "PATH")]
    pub granary: PathBuf,
    /// The etcd program
    #[arg(long, default_value = "target/bench/etcd", value_name = "PATH")]
    pub etcd: PathBuf,
    /// Where everything is kept
    #[arg(long, default_value = "target/bench", value_name = "DIR")]
    pub dir: PathBuf,
    /// Where flame graphs are drawn
    #[arg(long, default_value = "docs", value_name = "DIR")]
    pub flames: PathBuf,
    /// The page whose tables are written anew
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
}

impl Args {
    /// Whether a part is asked for.
    pub fn wants(&self, part: Part) -> bool {
        self.parts.contains(&part) && (!self.short || part == Part::Loads)
    }

    /// The parts that are done.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts: Vec<Part> = self.parts.iter().copied().filter(|part| self.wants(*part)).collect();
        parts.sort_unstable();
        parts.dedup();
        parts
    }

    /// How often each is done to leaders of etcd.
    pub fn failovers_of_etcd(&self) -> u32 {
        self.failovers_of_etcd.unwrap_or(FAILOVERS_OF_ETCD).min(self.failovers)
    }

    /// How loads are measured.
    pub fn manner(&self) -> Manner {
        Manner {
            rounds: if self.short { 2 } else { self.rounds },
            warm_up: Duration::from_secs(1),
            time: Duration::from_secs(if self.short { 2 } else { self.seconds }),
            value_size: 256,
            keys: 100_000,
            connections: self.connections,
            batch: 64,
            rows: 10_000,
        }
    }

    /// The loads, in their order.
    pub fn loads(&self) -> Vec<Load> {
        let load = |name, kind, clients, unary| Load { name, kind, clients, unary };
        let all = [
            load("put", Kind::Put, 1, false),
            load("put", Kind::Put, 64, false),
            load("put", Kind::Put, 256, false),
            load("get", Kind::Get, 1, false),
            load("get", Kind::Get, 64, false),
            load("get", Kind::Get, 256, false),
            load("batch", Kind::Batch, 16, false),
            load("scan", Kind::Scan, 4, false),
            load("put_unary", Kind::Put, 64, true),
            load("get_unary", Kind::Get, 64, true),
        ];
        let wanted = |load: &Load| self.only.is_empty() || self.only.iter().any(|name| name == load.name);
        let main = |load: &Load| !self.short || (!load.unary && matches!(load.clients, 64 | 16 | 4));
        all.into_iter().filter(|load| wanted(load) && main(load)).collect()
    }
}
