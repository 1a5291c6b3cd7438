//! `granary verify`: reads back what `granary load` stored, and compares; or compares replicas.

use std::time::Instant;

use futures::StreamExt as _;
use granary_client::Client;
use serde_json::json;

use crate::{
    admin::PeerArgs,
    context::Context,
    corpus::{Corpus, Item, Memory, Source},
    failure::Failure,
    output,
    progress::Progress,
};

/// Most names of a kind that are written out.
const NAMED: usize = 20;

/// Arguments of `granary verify`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  granary verify ./docs
  granary verify ./docs --lines /usr/share/dict/words
  granary verify ./docs -o json
      {\"keys\",\"bytes\",\"seconds\",\"keys_per_second\",\"wrong\":[..],\"wrong_count\",\"too_large\":[..],\"unreadable\":[..]}

  granary verify --replicas
  granary verify --replicas --shard 3 -o json
      {\"shards\":[{\"shard\",\"index\",\"hash\",\"result\",\"replicas\":[{\"replica\",\"node\",\"voter\",\"state\",
      \"hash\",\"rows\",\"bytes\",\"message\"}]}],\"equal\",\"different\",\"undecided\",\"incomplete\",\"seconds\"}

Every key is read linearizably, and its length and CRC32C are compared with the file's. Up to 20 wrong or missing keys
are named. Exits with 1 when there is any, or a file could not be read.

With --replicas all rows of each shard's replicas are read on their nodes, at the same applied index, and compared by a
hash; clients go on meanwhile. A replica that most others contradict is made anew from them. Exits with 1 unless all are
known to be equal.")]
pub struct Args {
    /// Where the keys come from.
    #[command(flatten)]
    pub source: Source,
    /// Compare the replicas of the shards with each other instead
    #[arg(long, conflicts_with_all = ["directory", "lines"])]
    pub replicas: bool,
    /// Compare this shard only; may be repeated. 0 is the meta shard
    #[arg(long, requires = "replicas", value_name = "ID")]
    pub shard: Vec<u32>,
    #[command(flatten)]
    peers: PeerArgs,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    if args.replicas {
        return super::verify_replicas::run(context, &args.peers, &args.shard).await;
    }
    let corpus = Corpus::collect(&args.source)?;
    let client = context.client().await?;
    let (memory, progress) = (Memory::default(), Progress::new("verifying", corpus.items.len() as u64));
    let started = Instant::now();
    let mut done = futures::stream::iter(&corpus.items)
        .map(|item| compare(&client, item, &memory, &progress))
        .buffer_unordered(args.source.in_flight.into());
    let (mut keys, mut bytes, mut unreadable, mut wrong) = (0u64, 0u64, corpus.unreadable.clone(), Vec::new());
    while let Some(outcome) = done.next().await {
        match outcome {
            Ok(size) => {
                keys += 1;
                bytes += size as u64;
            }
            Err(Problem::Unreadable(what)) => unreadable.push(what),
            Err(Problem::Wrong(what)) => wrong.push(what),
        }
    }
    progress.finish();
    let seconds = started.elapsed().as_secs_f64();
    let rate = keys as f64 / seconds.max(1e-9);
    named("too large and left out", &corpus.too_large);
    named("could not be read", &unreadable);
    named("wrong", &wrong);
    match context.json() {
        true => output::json(&json!({
            "keys": keys, "bytes": bytes, "seconds": seconds, "keys_per_second": rate,
            "wrong": &wrong[..wrong.len().min(NAMED)], "wrong_count": wrong.len(),
            "too_large": corpus.too_large, "unreadable": unreadable,
        }))?,
        false => output::line(&format!(
            "verified {} keys, {} in {seconds:.1} s ({} keys/s); {} wrong, {} too large, {} unreadable",
            output::grouped(keys),
            output::bytes(bytes),
            output::grouped(rate as u64),
            wrong.len(),
            corpus.too_large.len(),
            unreadable.len(),
        ))?,
    }
    match (wrong.len(), unreadable.len()) {
        (0, 0) => Ok(()),
        (wrong, unreadable) => {
            Err(Failure::failed(format!("{wrong} keys are wrong or missing, {unreadable} unreadable")))
        }
    }
}

enum Problem {
    Unreadable(String),
    Wrong(String),
}

async fn compare(client: &Client, item: &Item, memory: &Memory, progress: &Progress) -> Result<usize, Problem> {
    let (expected, room) = item.read(memory).await.map_err(Problem::Unreadable)?;
    let (length, checksum) = (expected.len(), crc32c::crc32c(&expected));
    drop((expected, room));
    let wrong = |what: String| Problem::Wrong(format!("{}: {what}", String::from_utf8_lossy(&item.key)));
    let found = client.get(item.key.clone()).await.map_err(|error| wrong(error.to_string()))?;
    let found = found.ok_or_else(|| wrong("is not there".to_owned()))?.value;
    if found.len() != length {
        return Err(wrong(format!("has {} bytes, expected {length}", found.len())));
    }
    let stored = crc32c::crc32c(&found);
    if stored != checksum {
        return Err(wrong(format!("has checksum {stored:08x}, expected {checksum:08x}")));
    }
    progress.add(length);
    Ok(length)
}

/// Names the first of `what` on stderr, and counts the others.
pub(super) fn named(label: &str, what: &[String]) {
    for name in what.iter().take(NAMED) {
        eprintln!("{label}: {name}");
    }
    if what.len() > NAMED {
        eprintln!("{label}: {} more", what.len() - NAMED);
    }
}
