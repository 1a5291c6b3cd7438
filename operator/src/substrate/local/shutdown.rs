//! Stopping all nodes, from within the loop or from outside, and giving the directory up.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::{
    Local,
    layout::{self, Layout},
    lock::Lock,
    process::Identity,
    record::Record,
    supervise::GRACE,
};
use crate::substrate::{SubstrateError, local::files::doing};

/// Between two looks at what should have stopped.
const LOOK: Duration = Duration::from_millis(20);

/// What stopping did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Names of the places whose processes ran.
    pub stopped: Vec<String>,
    /// Those of them that had to be killed, since they had not stopped in 20 s.
    pub killed: Vec<String>,
}

impl Local {
    /// Stops all processes and keeps all data. Takes 20 s and a little at most.
    pub async fn stop_all(&self) -> Stopped {
        let mut report = Stopped::default();
        let deadline = Instant::now() + GRACE + Duration::from_secs(5);
        loop {
            let mut left = 0;
            for (index, node) in &mut self.state.lock().supervised {
                if !node.is_running() {
                    continue;
                }
                left += 1;
                let name = layout::name(*index);
                if node.ask_to_stop() {
                    report.killed.push(name.clone());
                }
                if !report.stopped.contains(&name) {
                    report.stopped.push(name);
                }
            }
            if left == 0 || Instant::now() >= deadline {
                return report;
            }
            sleep(LOOK).await;
        }
    }
}

/// Stops the loop of a directory and its nodes; keeps all data. Idempotent.
///
/// # Errors
/// It is not the directory of a cluster, or its loop does not stop.
pub async fn down(dir: &Path) -> Result<Stopped, SubstrateError> {
    let layout = ours(dir)?;
    // The loop stops its nodes itself.
    let names = running(&layout)?;
    if let Some(holder) = Lock::holder(&layout)?
        && let Some(process) = Identity::of(holder)
    {
        process.signal(Signal::TERM);
        let deadline = Instant::now() + GRACE + Duration::from_secs(10);
        while Lock::holder(&layout)? == Some(holder) {
            if Instant::now() >= deadline {
                let message = format!("the process {holder} was asked to stop and still holds {}", dir.display());
                return Err(SubstrateError::Taken(message));
            }
            sleep(LOOK).await;
        }
    }
    // What it left, when it was killed or was not there.
    let rest = Local::open(dir, PathBuf::new())?.stop_all().await;
    Ok(Stopped { stopped: names, killed: rest.killed })
}

/// Stops everything and removes the directory with all data.
///
/// # Errors
/// It is not the directory of a cluster, or it cannot be removed.
pub async fn destroy(dir: &Path) -> Result<Stopped, SubstrateError> {
    let layout = ours(dir)?;
    let stopped = down(dir).await?;
    let _lock = Lock::take(&layout)?;
    // The record goes last: a directory that was removed half way is still known as ours.
    let remove = || {
        for entry in fs::read_dir(layout.dir())? {
            let path = entry?.path();
            if path == layout.record() {
                continue;
            }
            if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
        }
        fs::remove_file(layout.record())?;
        fs::remove_dir(layout.dir())
    };
    remove().map_err(doing(format!("cannot remove {}", dir.display())))?;
    Ok(stopped)
}

fn ours(dir: &Path) -> Result<Layout, SubstrateError> {
    let layout = Layout::of(dir)?;
    if Record::load(&layout)?.is_none() {
        let message = format!("{} is not the directory of a local cluster: it has no cluster.json", dir.display());
        return Err(SubstrateError::Damaged(message));
    }
    Ok(layout)
}

fn running(layout: &Layout) -> Result<Vec<String>, SubstrateError> {
    let record = Record::load(layout)?;
    let mut names = Vec::new();
    for index in record.iter().flat_map(|record| record.places.keys()) {
        if super::process::find(layout, *index)?.is_some() {
            names.push(layout::name(*index));
        }
    }
    Ok(names)
}
