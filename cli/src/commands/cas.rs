//! `granary cas`: changes a key if it is as expected.

use std::path::PathBuf;

use granary_client::{Change, Expected, Swapped};
use serde_json::{Map, json};

use crate::{context::Context, failure::Failure, input, output};

/// Arguments of `granary cas`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  granary cas lock --expect-absent mine
  granary cas counter --expect-value 7 8
  granary cas config --expect-revision 42 --file config.new
  granary cas lock --expect-value mine --delete
  granary cas lock --expect-absent mine -o json
      {\"succeeded\":true,\"revision\"} or {\"succeeded\":false,\"found\",\"value\" or \"value_base64\",\"revision\"}

Exits with 4, and changes nothing, when the key is not as expected.")]
#[command(group = clap::ArgGroup::new("expected").required(true))]
pub struct Args {
    /// The key: 1 to 4,096 bytes
    pub key: String,
    /// The new value; without it, --file and --delete it is read from standard input
    pub value: Option<String>,
    /// Read the new value from this file; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    pub file: Option<PathBuf>,
    /// Delete the key
    #[arg(long, conflicts_with_all = ["value", "file"])]
    pub delete: bool,
    /// Only if the key holds exactly this
    #[arg(long, group = "expected", value_name = "VALUE")]
    pub expect_value: Option<String>,
    /// Only if the key was last written at this revision
    #[arg(long, group = "expected", value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    pub expect_revision: Option<u64>,
    /// Only if the key is not there
    #[arg(long, group = "expected")]
    pub expect_absent: bool,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let expected = match (args.expect_value, args.expect_revision) {
        (Some(value), _) => Expected::Value(value.into()),
        (None, Some(revision)) => Expected::Revision(revision),
        (None, None) => Expected::Absent,
    };
    let change = match args.delete {
        true => Change::Delete,
        false => Change::Put(input::value(args.value, args.file).await?),
    };
    let client = context.client().await?;
    match client.compare_and_set(args.key.clone(), expected, change).await? {
        Swapped::Done { revision } if context.json() => {
            output::json(&json!({ "succeeded": true, "revision": revision }))
        }
        Swapped::Done { revision } => output::line(&format!("revision {revision}")),
        Swapped::Refused(current) => {
            if context.json() {
                let mut object = Map::new();
                object.insert("succeeded".to_owned(), false.into());
                object.insert("found".to_owned(), current.is_some().into());
                if let Some(current) = &current {
                    output::put_bytes(&mut object, "value", &current.value);
                    object.insert("revision".to_owned(), current.revision.into());
                }
                output::json(&object)?;
            }
            let state = match current {
                None => "is not there".to_owned(),
                Some(current) => format!("holds {} bytes of revision {}", current.value.len(), current.revision),
            };
            Err(Failure::refused(format!("not changed: key {:?} {state}", args.key)))
        }
    }
}
