//! The `granary` command: a file per subcommand in [`commands`], and what they share.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 3 key not found, 4 refused by a guard. Results go to stdout, everything
//! else to stderr. It knows the client library and the operator's library; it holds no logic of its own about routing,
//! placement or retries.

pub mod admin;
pub mod args;
pub mod commands;
pub mod context;
mod corpus;
pub mod endpoints;
pub mod failure;
mod input;
pub mod output;
mod phase;
mod progress;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{args::Cli, context::Context, failure::Failure};

/// Parses the arguments of this process, does what they say and gives the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Clap answers --help and --version this way too, with code 0.
            let code = error.exit_code();
            let _ = error.print();
            return ExitCode::from(u8::try_from(code).unwrap_or(2));
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("granary: {}", failure.message);
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    let context = Context::new(cli.global);
    let result = runtime.block_on(commands::dispatch(&context, cli.command));
    // A read of standard input cannot be cancelled; do not wait for one.
    runtime.shutdown_background();
    result
}
