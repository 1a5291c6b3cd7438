//! The command line: global options and the list of subcommands. Each subcommand's own arguments are in its file.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands;

/// Work with a Granary cluster: read and write keys, run one on this machine, see what it is doing.
#[derive(Debug, Parser)]
#[command(name = "granary", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 refused by a guard.")]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Addresses (host:port) of the data API of one or more nodes, comma separated; any node finds the others.
    /// Without it, the nodes of the local cluster in --dir
    #[arg(long, global = true, env = "GRANARY_ENDPOINTS", value_delimiter = ',', value_name = "HOST:PORT,..")]
    pub endpoints: Vec<String>,
    /// Speak only to the given addresses, whose nodes pass each request on: for a cluster that is reached through
    /// `kubectl port-forward`
    #[arg(long, global = true, env = "GRANARY_FORWARD", value_parser = clap::builder::FalseyValueParser::new())]
    pub forward: bool,
    /// Directory of the local cluster
    #[arg(long, global = true, default_value = "./.granary", value_name = "DIR")]
    pub dir: PathBuf,
    /// How results are written to stdout
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// Longest time for one request with its retries, such as 500ms, 10s or 2m
    #[arg(long, global = true, default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub timeout: Duration,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object, or one for each line of a stream.
    Json,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print what a key holds
    Get(commands::get::Args),
    /// Make a key hold a value
    Put(commands::put::Args),
    /// Delete a key, or a range of keys
    Delete(commands::delete::Args),
    /// Change a key if it is as expected (compare and set)
    Cas(commands::cas::Args),
    /// Print keys and values
    Scan(commands::scan::Args),
    /// Store every file below a directory
    Load(commands::load::Args),
    /// Read back what `load` stored, and compare; or compare replicas
    Verify(commands::verify::Args),
    /// Measure throughput and latency
    Bench(commands::bench::Args),
    /// Print a script that completes this command's arguments in a shell
    Completion(commands::completion::Args),
    /// Run a cluster on this machine
    Local(commands::local::Args),
    /// Say what the cluster is doing, what waits and why
    Status(commands::status::Args),
    /// Print the steps that would bring the cluster to what a file asks; changes nothing
    Plan(commands::plan::Args),
    /// Look at shards
    Shard(commands::shard::Args),
    /// Look at nodes, empty them
    Node(commands::node::Args),
}

/// Parses "500ms", "10s", "2m" or a bare number of seconds; from 1 ms to 10 minutes.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is not a time such as 500ms, 10s or 2m"))?;
    let ms = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        _ => return Err(format!("{unit:?} is not a unit of time; allowed are ms, s and m")),
    };
    match ms {
        Some(ms @ 1..=600_000) => Ok(Duration::from_millis(ms)),
        _ => Err(format!("{text} is out of range; allowed is 1ms to 10m")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_a_unit_and_a_range() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "0", "s", "11m", "1h", "-1s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
