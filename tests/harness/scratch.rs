//! A directory for one test, and the certainty that no process goes on working below it.

use std::{
    fs,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{HarnessError, Result, local::kill};

/// Longest time for processes that were killed to be gone.
const GONE: Duration = Duration::from_secs(20);

/// A directory of its own. When it is dropped, every process that names it in its command line is killed, and it is
/// removed, unless the test panics: then it stays, with the logs.
pub struct Scratch {
    dir: Option<TempDir>,
}

impl Scratch {
    /// A new, empty one.
    pub fn new() -> Result<Self> {
        let dir =
            TempDir::with_prefix("granary-local-").map_err(|error| HarnessError::because("a directory", error))?;
        Ok(Self { dir: Some(dir) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.as_ref().map_or(Path::new(""), TempDir::path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(dir) = self.dir.take() else { return };
        kill_all_that_name(dir.path());
        if std::thread::panicking() {
            eprintln!("kept for a look: {}", dir.keep().display());
        }
    }
}

/// Kills again and again, since a loop that lives starts nodes anew.
fn kill_all_that_name(dir: &Path) {
    let deadline = Instant::now() + GONE;
    while Instant::now() < deadline {
        let pids = that_name(dir);
        if pids.is_empty() {
            return;
        }
        pids.into_iter().for_each(kill);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn that_name(dir: &Path) -> Vec<u32> {
    let wanted = dir.as_os_str().as_bytes();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let names = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(wanted.len()).any(|part| part == wanted)
    };
    pids.filter(|pid| *pid != std::process::id()).filter(names).collect()
}
