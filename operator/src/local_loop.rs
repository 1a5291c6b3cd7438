//! Local mode's loop: follows a spec file with the local substrate until it is told to stop, and writes what it sees.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use granary_crds::spec::DiskPolicy;
use thiserror::Error;
use tokio::sync::watch;

use crate::{
    clock::unix_ms,
    node_admin::GrpcAdmin,
    reconcile::{LoopError, Reconciler, Round},
    spec_file::{SpecError, SpecFile},
    substrate::{
        SubstrateError,
        local::{Local, Stopped, status_file::StatusFile},
    },
};

/// Between two rounds while something is to be done.
const BUSY: Duration = Duration::from_millis(100);
/// Between two rounds while everything is as desired.
const SETTLED: Duration = Duration::from_secs(2);
/// Between two looks at what costs the nodes nothing: the spec file, and whether they run.
const GLANCE: Duration = Duration::from_millis(200);

/// Where and what.
#[derive(Clone, Debug)]
pub struct Options {
    /// The spec.
    pub file: PathBuf,
    /// The cluster directory.
    pub dir: PathBuf,
    /// The node's program.
    pub node_binary: PathBuf,
}

/// Why local mode ended.
#[derive(Debug, Error)]
pub enum LocalError {
    /// The spec file.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The directory, or the processes.
    #[error(transparent)]
    Substrate(#[from] SubstrateError),
    /// The loop.
    #[error(transparent)]
    Loop(#[from] LoopError),
}

/// A cluster on this machine, opened and not running yet.
pub struct LocalLoop {
    spec: SpecFile,
    local: Arc<Local>,
    reconciler: Reconciler,
    sink: watch::Sender<StatusFile>,
}

impl LocalLoop {
    /// Reads the spec and takes the directory.
    ///
    /// # Errors
    /// The spec is not valid, or another loop works on the directory.
    pub fn open(options: &Options) -> Result<Self, LocalError> {
        let spec = SpecFile::open(&options.file)?;
        let local = Arc::new(Local::open(&options.dir, options.node_binary.clone())?);
        let reconciler = Reconciler::new(local.clone(), Arc::new(GrpcAdmin::default()));
        // What an earlier loop wrote says nothing of this one.
        let sink = watch::Sender::new(StatusFile::default());
        StatusFile { phase: "Unknown".into(), operator_pid: std::process::id(), ..StatusFile::default() }
            .save(local.layout())?;
        Ok(Self { spec, local, reconciler, sink })
    }

    /// What is seen, as it changes.
    pub fn watch(&self) -> watch::Receiver<StatusFile> {
        self.sink.subscribe()
    }

    /// Runs until `stop` completes, then stops the nodes and keeps their data.
    ///
    /// # Errors
    /// The loop cannot go on. The nodes are stopped, unless another process has taken them over.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<Stopped, LocalError> {
        // Dropped in the middle of a round, which is as good as a kill: the next loop goes on from there.
        let ended = tokio::select! {
            error = self.rounds() => error,
            () = stop => Ok(()),
        };
        match ended {
            Err(error @ LocalError::Loop(LoopError::TakenOver(_))) => Err(error),
            ended => {
                let stopped = self.local.stop_all().await;
                self.say_stopped()?;
                ended.map(|()| stopped)
            }
        }
    }

    async fn rounds(&mut self) -> Result<(), LocalError> {
        loop {
            self.spec.refresh();
            let spec = &self.spec.cluster().spec;
            self.local.set_delete_retired(spec.storage.when_scaled == DiskPolicy::Delete);
            let generation = i64::try_from(self.spec.generation()).unwrap_or(i64::MAX);
            let round = self.reconciler.round(spec, generation, self.spec.error()).await?;
            if let Some(cluster) = round.sight.observed.cluster.known() {
                self.spec.made_with(cluster.replication_factor, cluster.shard_count);
            }
            self.say(&round)?;
            self.rest(if round.settled { SETTLED } else { BUSY }).await;
        }
    }

    /// Sleeps; an edit of the file ends it early, and so does the end of a process.
    async fn rest(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        let pids = self.local.pids();
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            tokio::time::sleep(left.min(GLANCE)).await;
            if self.spec.refresh() || self.local.pids() != pids {
                return;
            }
        }
    }

    fn say(&self, round: &Round) -> Result<(), LocalError> {
        let mut file = StatusFile::new(&round.status, &round.sight, &self.local.pids());
        file.replicas = u32::try_from(self.spec.cluster().spec.replicas).unwrap_or_default();
        file.observed_time_ms = unix_ms();
        file.spec_error = self.spec.error().map(str::to_owned);
        file.error = round.error.clone();
        file.save(self.local.layout())?;
        self.sink.send_replace(file);
        Ok(())
    }

    fn say_stopped(&self) -> Result<(), LocalError> {
        let mut file = self.sink.borrow().clone();
        (file.phase, file.ready, file.operator_pid) = ("Stopped".into(), false, 0);
        (file.plan, file.plan_steps, file.waiting) = (Vec::new(), 0, Vec::new());
        file.shards_with_leader = 0;
        file.observed_time_ms = unix_ms();
        for node in &mut file.nodes {
            (node.pid, node.state, node.leaders) = (None, "stopped".into(), 0);
        }
        file.save(self.local.layout())?;
        Ok(())
    }
}

/// The node's program: as given, else beside this one, else by the PATH.
pub fn node_binary(given: Option<&Path>) -> PathBuf {
    const NAME: &str = "granary-node";
    if let Some(given) = given {
        return given.to_owned();
    }
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(NAME));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(NAME))
}
