//! `granary scan`: prints keys and values.

use std::{
    io::{self, BufWriter, Write as _},
    pin::pin,
    time::Duration,
};

use futures::StreamExt as _;
use granary_client::{Order, Row, Scan};
use serde_json::{Map, Value};

use crate::{context::Context, failure::Failure, output};

/// Arguments of `granary scan`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  granary scan --prefix logs/ --keys-only
  granary scan --start a --end b --order key --limit 100
  granary scan --tag user7
  granary scan -o json       a line for each row: {\"key\" or \"key_base64\",\"value\" or \"value_base64\",\"revision\"}

As text, a row is its key, a tab and its value, byte for byte; use -o json for values that hold line ends.")]
pub struct Args {
    /// Only keys that start with this
    #[arg(long, conflicts_with_all = ["start", "end"])]
    pub prefix: Option<String>,
    /// From this key on
    #[arg(long, default_value = "", value_name = "KEY")]
    pub start: String,
    /// Up to this key, without it
    #[arg(long, default_value = "", value_name = "KEY")]
    pub end: String,
    /// Only keys with this tag (the part in braces)
    #[arg(long, default_value = "")]
    pub tag: String,
    /// Without values
    #[arg(long)]
    pub keys_only: bool,
    /// By slot (cheap) or by key over all shards
    #[arg(long, value_enum, default_value_t = By::Slot)]
    pub order: By,
    /// At most this many rows
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Read from any replica whose state is at most this old, in ms, instead of the latest
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub stale: Option<u64>,
}

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// Slot, then key.
    Slot,
    /// Key.
    Key,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let range = match args.prefix {
        Some(prefix) => Scan::prefix(prefix),
        None => Scan { start: args.start.into(), end: args.end.into(), ..Scan::default() },
    };
    let scan = Scan {
        tag: args.tag.into(),
        keys_only: args.keys_only,
        order: match args.order {
            By::Slot => Order::Slot,
            By::Key => Order::Key,
        },
        max_staleness: args.stale.map(Duration::from_millis),
        page_rows: args.limit.and_then(|rows| u32::try_from(rows).ok()).unwrap_or(u32::MAX).min(1_000),
        ..range
    };
    let client = context.client().await?;
    let limit = args.limit.and_then(|rows| usize::try_from(rows).ok()).unwrap_or(usize::MAX);
    let mut rows = pin!(client.scan(scan).take(limit).ready_chunks(256));
    while let Some(chunk) = rows.next().await {
        // Stdout is locked for no longer than a chunk, because a lock must not be held while waiting.
        let mut out = BufWriter::new(io::stdout().lock());
        for row in chunk {
            let written = match context.json() {
                true => writeln!(out, "{}", json(&row?, args.keys_only)),
                false => text(&mut out, &row?, args.keys_only),
            };
            output::ended(written)?;
        }
        output::ended(out.flush())?;
    }
    Ok(())
}

fn text(out: &mut impl io::Write, row: &Row, keys_only: bool) -> io::Result<()> {
    out.write_all(&row.key)?;
    if !keys_only {
        out.write_all(b"\t")?;
        out.write_all(&row.value)?;
    }
    out.write_all(b"\n")
}

fn json(row: &Row, keys_only: bool) -> Value {
    let mut object = Map::new();
    output::put_bytes(&mut object, "key", &row.key);
    if !keys_only {
        output::put_bytes(&mut object, "value", &row.value);
    }
    object.insert("revision".to_owned(), row.revision.into());
    Value::Object(object)
}
