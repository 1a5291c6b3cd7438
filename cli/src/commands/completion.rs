//! `granary completion`: prints a script that completes this command's arguments in a shell.

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use crate::{args::Cli, context::Context, failure::Failure, output};

/// Arguments of `granary completion`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  source <(granary completion bash)
  granary completion fish > ~/.config/fish/completions/granary.fish
  granary completion zsh -o json       {\"script\"}")]
pub struct Args {
    /// The shell
    pub shell: Shell,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "granary", &mut script);
    match context.json() {
        true => output::json(&json!({ "script": String::from_utf8_lossy(&script) })),
        false => output::raw(&script),
    }
}
