//! `granary local`: runs a cluster on this machine.

mod progress;
mod up;

use granary_operator::substrate::{
    SubstrateError,
    local::{self, Stopped, layout::Layout, lock::Lock, status_file::StatusFile},
};

use crate::{context::Context, failure::Failure, output};

/// Arguments of `granary local`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Start the cluster that a file describes, and follow the file. Ctrl-C stops the nodes and keeps the data
    Up(up::Args),
    /// Stop the cluster; keep the data
    Down,
    /// Stop the cluster and remove its directory with all data
    Destroy {
        /// Really remove all data
        #[arg(long)]
        yes: bool,
    },
    /// Say what runs in the directory
    Status,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Up(args) => up::run(context, args).await,
        Command::Down => {
            let stopped = local::down(context.dir()).await.map_err(failure)?;
            say(context, &stopped, "The data is kept; `granary local up` goes on with it.")
        }
        Command::Destroy { yes: false } => Err(Failure::refused(format!(
            "this removes all data in {}: add --yes when that is what you want",
            context.dir().display()
        ))),
        Command::Destroy { yes: true } => {
            let stopped = local::destroy(context.dir()).await.map_err(failure)?;
            say(context, &stopped, &format!("Removed {}.", context.dir().display()))
        }
        Command::Status => status(context),
    }
}

/// The exit code that belongs to an error of the local substrate.
fn failure(error: SubstrateError) -> Failure {
    match error {
        SubstrateError::Taken(_) => Failure::refused(error),
        _ => Failure::failed(error),
    }
}

fn say(context: &Context, stopped: &Stopped, then: &str) -> Result<(), Failure> {
    if context.json() {
        return output::json(&serde_json::json!({ "stopped": stopped.stopped, "killed": stopped.killed }));
    }
    match stopped.stopped.len() {
        0 => output::line("No node was running.")?,
        count => output::line(&format!("Stopped {count} nodes: {}.", stopped.stopped.join(", ")))?,
    }
    if !stopped.killed.is_empty() {
        output::line(&format!("Had to kill after 20 s: {}.", stopped.killed.join(", ")))?;
    }
    output::line(then)
}

fn status(context: &Context) -> Result<(), Failure> {
    let dir = context.dir().display();
    let none = || Failure::not_found(format!("no local cluster in {dir}: `granary local up -f FILE` starts one"));
    if !context.dir().join("cluster.json").is_file() {
        return Err(none());
    }
    let layout = Layout::of(context.dir()).map_err(failure)?;
    let holder = Lock::holder(&layout).map_err(failure)?;
    let status = StatusFile::load(&layout).map_err(failure)?.ok_or_else(none)?;
    if context.json() {
        return output::json(&serde_json::json!({ "operator_pid": holder, "status": status }));
    }
    match holder {
        Some(pid) => output::line(&format!("{dir}: the loop runs as process {pid}"))?,
        None => output::line(&format!("{dir}: no loop runs; what follows is what the last one saw"))?,
    }
    super::status::print(&status)
}
