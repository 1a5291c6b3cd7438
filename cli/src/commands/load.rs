//! `granary load`: stores every file below a directory.

use std::time::Instant;

use futures::StreamExt as _;
use granary_client::Client;
use serde_json::json;

use crate::{
    commands::verify::named,
    context::Context,
    corpus::{Corpus, Item, Memory, Source},
    failure::Failure,
    output,
    progress::Progress,
};

/// Arguments of `granary load`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  granary load ./docs
  granary load ./docs --lines /usr/share/dict/words --in-flight 64
  granary load ./docs -o json
      {\"keys\",\"bytes\",\"seconds\",\"keys_per_second\",\"too_large\":[..],\"unreadable\":[..],\"failed\":[..]}

Files over 4 MiB are named and counted, not cut. Exits with 1 when a file could not be read or a key not be stored;
running it again is safe.")]
pub struct Args {
    /// Where the keys come from.
    #[command(flatten)]
    pub source: Source,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let corpus = Corpus::collect(&args.source)?;
    let client = context.client().await?;
    let (memory, progress) = (Memory::default(), Progress::new("loading", corpus.items.len() as u64));
    let started = Instant::now();
    let mut done = futures::stream::iter(&corpus.items)
        .map(|item| store(&client, item, &memory, &progress))
        .buffer_unordered(args.source.in_flight.into());
    let (mut keys, mut bytes, mut unreadable, mut failed) = (0u64, 0u64, corpus.unreadable.clone(), Vec::new());
    while let Some(outcome) = done.next().await {
        match outcome {
            Ok(size) => {
                keys += 1;
                bytes += size as u64;
            }
            Err(Problem::Unreadable(what)) => unreadable.push(what),
            Err(Problem::Failed(what)) => failed.push(what),
        }
    }
    progress.finish();
    let seconds = started.elapsed().as_secs_f64();
    let rate = keys as f64 / seconds.max(1e-9);
    named("too large and left out", &corpus.too_large);
    named("could not be read", &unreadable);
    named("not stored", &failed);
    match context.json() {
        true => output::json(&json!({
            "keys": keys, "bytes": bytes, "seconds": seconds, "keys_per_second": rate,
            "too_large": corpus.too_large, "unreadable": unreadable, "failed": failed,
        }))?,
        false => output::line(&format!(
            "loaded {} keys, {} in {seconds:.1} s ({} keys/s); {} too large, {} unreadable, {} failed",
            output::grouped(keys),
            output::bytes(bytes),
            output::grouped(rate as u64),
            corpus.too_large.len(),
            unreadable.len(),
            failed.len(),
        ))?,
    }
    match unreadable.len() + failed.len() {
        0 => Ok(()),
        left => Err(Failure::failed(format!("{left} keys were not stored; run it again once the cause is gone"))),
    }
}

enum Problem {
    Unreadable(String),
    Failed(String),
}

async fn store(client: &Client, item: &Item, memory: &Memory, progress: &Progress) -> Result<usize, Problem> {
    let (value, _room) = item.read(memory).await.map_err(Problem::Unreadable)?;
    let size = value.len();
    let stored = client.put(item.key.clone(), value).await;
    stored.map_err(|error| Problem::Failed(format!("{}: {error}", String::from_utf8_lossy(&item.key))))?;
    progress.add(size);
    Ok(size)
}
