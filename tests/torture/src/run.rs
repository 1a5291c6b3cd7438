//! A whole run: cluster, clients, nemesis, then healing and checking.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use granary_tests::{HarnessError, Result};
use tokio::task::JoinSet;

use crate::{
    Args, calm::Calm, clients::Clients, cluster::Cluster, disks::Disks, faults::Targets, finish, kind::Kind, load,
    nemesis::Nemesis, network::Network, plan::Plan, probes::Probes, progress::Progress, report::Report,
};

/// Places that may have a node at a time, and disks.
const PLACES: u32 = 8;
/// Longest time until the cluster is there at first.
const READY: Duration = Duration::from_secs(120);
/// For what comes behind the faults, in the bound of the history.
const BEHIND: Duration = Duration::from_secs(900);

/// Everything that runs.
pub struct Running {
    /// The nemesis.
    pub nemesis: Nemesis,
    /// The checked clients.
    pub clients: Arc<Clients>,
    /// The probes.
    pub probes: Arc<Probes>,
    /// Tasks of both.
    pub tasks: JoinSet<()>,
    /// Ends the load.
    pub no_load: Arc<AtomicBool>,
    /// Shown until the end.
    pub progress: Arc<Progress>,
}

/// Runs it in `dir`, and writes what was found into `report`.
pub async fn run(args: &Args, seed: u64, wanted: &BTreeSet<Kind>, dir: &Path, report: &mut Report) -> Result<()> {
    let total = Duration::from_secs_f64(args.minutes * 60.0);
    let mut running = start(args, seed, total, dir).await?;
    let mut plan = Plan::new(seed, wanted);
    let tormented = running.nemesis.run(&mut plan, total, wanted).await;
    if let Err(error) = tormented {
        report.failures.push(error.to_string());
    }
    finish::finish(&mut running, seed, args, report).await;
    running.progress.done();
    report.faults = running.nemesis.counts.iter().map(|(kind, count)| (kind.name(), *count)).collect();
    let missing = wanted.iter().filter(|kind| !running.nemesis.counts.contains_key(*kind));
    report.missing = missing.map(|kind| kind.name()).collect();
    if !report.missing.is_empty() {
        report.failures.push(format!("these faults never happened: {}", report.missing.join(", ")));
    }
    if report.snapshots == 0 && wanted.iter().any(|kind| matches!(kind, Kind::Wipe | Kind::ScaleOut)) {
        report.failures.push("no snapshot came in: new nodes did not get their data in that way".into());
    }
    running.nemesis.targets.cluster.kill_operator().await;
    let all: Vec<u32> = running.nemesis.targets.cluster.processes().into_keys().collect();
    running.nemesis.targets.cluster.kill_nodes(&all).await.map(|_| ())
}

async fn start(args: &Args, seed: u64, total: Duration, dir: &Path) -> Result<Running> {
    prepare(dir)?;
    let network = Network::prepare(PLACES).await?;
    let disks = Disks::mount(dir, PLACES, seed)?;
    if args.lying_disks {
        disks.lie();
    }
    let cluster = Arc::new(Cluster::new(dir, args.shards)?);
    let targets = Targets { cluster: cluster.clone(), network, disks };
    targets.set_clocks(&(0..PLACES).collect::<Vec<_>>(), "+0")?;
    cluster.start_operator().await?;
    cluster.whole(READY).await.map_err(|error| HarnessError::because("the cluster does not come up", error))?;
    let (clients, mut tasks) = Clients::start(cluster.local.endpoints()?, seed, total + BEHIND).await?;
    let calm = Arc::new(Calm::new(args.shards as usize, Instant::now()));
    let (probes, probing) = Probes::start(clients.client(1), args.shards, calm.clone());
    tasks.spawn(async move {
        probing.join_all().await;
    });
    let no_load = Arc::new(AtomicBool::new(false));
    let loading = load::start(clients.client(2), no_load.clone());
    tasks.spawn(async move {
        let _ = loading.await;
    });
    let progress = Arc::new(Progress::new(total, seed));
    tokio::spawn(progress.clone().watch_the_clock());
    tokio::spawn(progress.clone().show(clients.clone(), probes.clone(), calm.clone()));
    let nemesis = Nemesis::new(targets, calm, progress.clone());
    Ok(Running { nemesis, clients, probes, tasks, no_load, progress })
}

impl Running {
    /// No further writes; waits until those under way have ended.
    pub async fn quiet(&mut self) {
        self.clients.stop();
        self.probes.stop();
        self.no_load.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// What a run works with, in its directory.
const PARTS: [&str; 4] = ["cluster", "disks", "backing", "clocks"];

/// An empty directory: what an earlier run left in it goes. Its processes and mounts went with it, see `inside`.
fn prepare(dir: &Path) -> Result<()> {
    remove(dir)?;
    let remade = PARTS[1..].iter().try_for_each(|part| fs::create_dir_all(dir.join(part)));
    remade.map_err(|error| HarnessError::because(dir.display(), error))
}

/// Removes what a run worked with; not what it found.
pub fn remove(dir: &Path) -> Result<()> {
    let remove = |part: &&str| match fs::remove_dir_all(dir.join(part)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    PARTS.iter().try_for_each(remove).map_err(|error| HarnessError::because(dir.display(), error))
}
