//! What moving much data takes, and what clients notice of it: ours alone, for etcd's members hold all data each.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use granary_load::{Distribution, Kind, Outcome, Plan};
use rustix::process::Signal;

use crate::{
    error::{BenchError, Doing as _, Result},
    gaps::signal,
    ours::Ours,
    system::System,
};

/// Bytes of a value.
const VALUE: u32 = 1024;
/// Writes a second beside each step.
const RATE: u32 = 1_000;
/// How long clients are watched before anything moves.
const QUIET: Duration = Duration::from_secs(10);
/// How long the merges of tables that a fill leaves behind may take, before clients are watched.
const SETTLES: Duration = Duration::from_secs(20);
/// From the kill of a node on, clients are watched only behind this: what its leaders are missed for has a part of its own.
const FAILOVER: Duration = Duration::from_secs(1);
/// Longest wait for a step.
const LIMIT: Duration = Duration::from_secs(900);

/// What was seen.
#[derive(Clone, Debug)]
pub struct Grown {
    /// MiB of keys and values, one copy.
    pub mib: u64,
    /// From three nodes to five, until all is as asked; seconds.
    pub scale_up: f64,
    /// From the kill of a node and the loss of its disk until every shard has three copies again; seconds.
    pub rereplicate: f64,
    /// From the start of all processes until the cluster is ready; seconds.
    pub cold_start: f64,
    /// 99th percentile of writes, in ms: with nothing beside, while the cluster grew, while a disk was made anew
    /// (but for the first second, in which others take over).
    pub p99: [f64; 3],
}

/// Fills a new cluster of ours with so many MiB, and moves them.
///
/// # Errors
/// A step fails, or takes longer than a quarter of an hour.
pub async fn grow(binary: &Path, dir: &Path, shards: u32, mib: u64) -> Result<Grown> {
    let ours = Ours::start(binary, dir, shards).await?;
    let done = moved(&ours, mib).await;
    ours.end().await?;
    done
}

async fn moved(ours: &Ours, mib: u64) -> Result<Grown> {
    let keys = u32::try_from(mib * (1 << 20) / u64::from(VALUE)).doing("counting keys")?;
    let clients = ours.targets(1).await?;
    let first = clients.first().ok_or_else(|| BenchError("no client".into()))?;
    granary_load::fill(first, &plan(keys, QUIET), |_| ()).await.map_err(BenchError)?;
    tokio::time::sleep(SETTLES).await;
    let quiet = granary_load::run(&clients, &plan(keys, QUIET), |_| ()).await.map_err(BenchError)?;

    ours.ask_for(5)?;
    let (scale_up, while_scaled) = beside(&clients, keys, Duration::ZERO, ours.ready(5, LIMIT)).await?;

    let victim = ours.leader().await?;
    signal(victim.pid, Signal::KILL)?;
    let data = ours.data(&victim);
    // By another name first: the dying process may still put files there.
    let lost = data.with_extension("lost");
    fs::rename(&data, &lost).doing(data.display())?;
    fs::remove_dir_all(&lost).doing(lost.display())?;
    let (rereplicate, while_made) = beside(&clients, keys, FAILOVER, ours.ready(5, LIMIT)).await?;

    ours.down().await?;
    let began = Instant::now();
    ours.up().await?;
    let p99 = [&quiet, &while_scaled, &while_made].map(|outcome| outcome.quantile_us(0.99) as f64 / 1000.0);
    Ok(Grown { mib, scale_up, rereplicate, cold_start: began.elapsed().as_secs_f64(), p99 })
}

/// Writes at a fixed rate until `step` is done, from `unwatched` on. Its seconds, and what clients saw.
async fn beside(
    clients: &[granary_client::Client],
    keys: u32,
    unwatched: Duration,
    step: impl Future<Output = Result<()>>,
) -> Result<(f64, Outcome)> {
    let began = Instant::now();
    tokio::time::sleep(unwatched).await;
    let mut step = std::pin::pin!(step);
    let mut seen: Option<Outcome> = None;
    loop {
        // In parts, as nobody knows how long the step takes.
        let part = plan(keys, Duration::from_secs(1));
        let load = granary_load::run(clients, &part, |_| ());
        let mut load = std::pin::pin!(load);
        let (done, outcome) = tokio::select! {
            done = &mut step => (Some((done, began.elapsed())), load.await),
            outcome = &mut load => (None, outcome),
        };
        let outcome = outcome.map_err(BenchError)?;
        match &mut seen {
            None => seen = Some(outcome),
            Some(seen) => seen.latencies.add(&outcome.latencies).doing("adding latencies")?,
        }
        if let Some((done, took)) = done {
            done?;
            let seen = seen.ok_or_else(|| BenchError("nothing was measured".into()))?;
            return Ok((took.as_secs_f64(), seen));
        }
    }
}

fn plan(keys: u32, time: Duration) -> Plan {
    Plan {
        kind: Kind::Put,
        clients: 64,
        value_size: VALUE,
        keys,
        distribution: Distribution::Uniform,
        batch: 64,
        rows: 1_000,
        rate: Some(RATE),
        warm_up: Duration::ZERO,
        time,
    }
}
