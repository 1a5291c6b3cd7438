//! What the program is told by its arguments and its environment.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  granary-operator run --namespace granary-system --pod-name \"$HOSTNAME\"
      runs beside any number of others in that namespace: one of them works, the others wait
  granary-operator run --namespace granary-system --watch-namespaces team-a,team-b
      looks after the StorageClusters of two namespaces only
  granary-operator probe http://127.0.0.1:8080/readyz
      succeeds when the page answers 200

RUST_LOG sets what is logged, such as info,granary_operator=debug.";

/// Runs storage clusters on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "granary-operator", version, after_help = EXAMPLES)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look after StorageClusters until told to stop.
    #[command(after_help = EXAMPLES)]
    Run(Box<RunOptions>),
    /// Ask a page over HTTP; succeeds when it answers 200.
    Probe {
        /// Such as http://127.0.0.1:8080/readyz.
        url: String,
    },
}

/// Options of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunOptions {
    /// Namespace that the operator runs in: its Lease is there.
    #[arg(long, env = "POD_NAMESPACE", default_value = "granary-system")]
    pub namespace: String,
    /// Name of the operator's pod, unlike that of any other: who holds the Lease.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: String,
    /// Name of the Lease. Operators with the same one are one installation.
    #[arg(long, env = "GRANARY_LEASE_NAME", default_value = "granary-operator")]
    pub lease_name: String,
    /// Namespaces whose StorageClusters are looked after, separated by commas; empty: all.
    #[arg(long, env = "GRANARY_WATCH_NAMESPACES", default_value = "")]
    pub watch_namespaces: String,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, env = "GRANARY_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Domain of the Kubernetes cluster's names.
    #[arg(long, env = "GRANARY_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
    /// How logs are written.
    #[arg(long, env = "GRANARY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,
}

impl RunOptions {
    /// The namespaces to look after, each once; empty: all.
    pub fn namespaces(&self) -> Vec<String> {
        let given = self.watch_namespaces.split(',').map(str::trim).filter(|name| !name.is_empty());
        let mut names: Vec<_> = given.map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text in a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn run(arguments: &[&str]) -> RunOptions {
        let all = ["granary-operator", "run", "--pod-name", "me"].iter().chain(arguments);
        match Options::try_parse_from(all).unwrap().command {
            Command::Run(options) => *options,
            Command::Probe { .. } => unreachable!(),
        }
    }

    #[test]
    fn the_arguments_are_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn namespaces_are_a_list_with_commas_and_none_means_all() {
        assert_eq!(run(&["--watch-namespaces", "b, a,,b"]).namespaces(), ["a", "b"]);
        assert!(run(&["--watch-namespaces", ""]).namespaces().is_empty());
    }
}
