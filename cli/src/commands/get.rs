//! `granary get`: prints what a key holds.

use std::time::Duration;

use serde_json::Map;

use crate::{context::Context, failure::Failure, output};

/// Arguments of `granary get`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  granary get greeting                 the value, byte for byte, to stdout
  granary get photo.jpg > photo.jpg
  granary get greeting --stale 500     from any replica that is at most 500 ms old
  granary get greeting -o json         {\"key\",\"value\" or \"value_base64\",\"revision\"}

Exits with 3 when the key is not there.")]
pub struct Args {
    /// The key: 1 to 4,096 bytes
    pub key: String,
    /// Read from any replica whose state is at most this old, in ms, instead of the latest
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub stale: Option<u64>,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let client = context.client().await?;
    let found = match args.stale {
        None => client.get(args.key.clone()).await?,
        Some(ms) => client.get_stale(args.key.clone(), Duration::from_millis(ms)).await?,
    };
    let value = found.ok_or_else(|| Failure::not_found(format!("key {:?} is not there", args.key)))?;
    if !context.json() {
        return output::raw(&value.value);
    }
    let mut object = Map::new();
    output::put_bytes(&mut object, "key", args.key.as_bytes());
    output::put_bytes(&mut object, "value", &value.value);
    object.insert("revision".to_owned(), value.revision.into());
    output::json(&object)
}
