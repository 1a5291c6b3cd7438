//! `granary put`: makes a key hold a value.

use std::path::PathBuf;

use serde_json::json;

use crate::{context::Context, failure::Failure, input, output};

/// Arguments of `granary put`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  granary put greeting hello
  granary put photo.jpg --file photo.jpg
  date | granary put now
  granary put greeting hello -o json   {\"revision\"}")]
pub struct Args {
    /// The key: 1 to 4,096 bytes
    pub key: String,
    /// The value, up to 4 MiB; without it and --file it is read from standard input
    pub value: Option<String>,
    /// Read the value from this file; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    pub file: Option<PathBuf>,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let value = input::value(args.value, args.file).await?;
    let revision = context.client().await?.put(args.key, value).await?;
    match context.json() {
        true => output::json(&json!({ "revision": revision })),
        false => output::line(&format!("revision {revision}")),
    }
}
