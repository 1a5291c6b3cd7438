//! Which process is a node's: pid and start time together, and its command line, so that a pid that the system gave to
//! somebody else is never taken for ours.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, path::Path};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::{files, layout::Layout};
use crate::substrate::SubstrateError;

/// A process, for all time since the machine started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) pid: u32,
    /// Clock ticks since the machine started (field 22 of /proc/PID/stat).
    pub(super) started: u64,
}

impl Identity {
    /// The process with this pid now; `None`: there is none, or it has ended and only waits to be reaped.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything, also ") ": the fields are behind the last parenthesis. The first is the state.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace();
        let state = fields.next()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        let started = fields.nth(18)?.parse().ok()?;
        Some(Self { pid, started })
    }

    /// Whether this very process still runs.
    pub(super) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends a signal if this very process still runs.
    pub(super) fn signal(self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::debug!(pid = self.pid, ?signal, %error, "cannot signal");
        }
    }
}

/// The process that works on the place's directory: the one noted, else one that is found by its command line (the
/// loop may have been killed between the start and the note).
pub(super) fn find(layout: &Layout, index: u32) -> Result<Option<Identity>, SubstrateError> {
    let data = layout.data(index);
    let noted: Option<Identity> =
        files::read(&layout.pid(index))?.and_then(|content| serde_json::from_slice(&content).ok());
    if let Some(noted) = noted.filter(|noted| noted.is_alive() && works_on(noted.pid, &data)) {
        return Ok(Some(noted));
    }
    let Ok(processes) = fs::read_dir("/proc") else { return Ok(None) };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    Ok(pids.filter(|pid| works_on(*pid, &data)).find_map(Identity::of))
}

/// Notes which process works on the place's directory.
pub(super) fn note(layout: &Layout, index: u32, identity: Identity) -> Result<(), SubstrateError> {
    let content = serde_json::to_vec(&identity)
        .map_err(|error| SubstrateError::Damaged(format!("a pid file cannot be written: {error}")))?;
    files::replace_synced(&layout.pid(index), &content)
}

/// Whether the command line says `--data DIR`.
fn works_on(pid: u32, data: &Path) -> bool {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    words.windows(2).any(|pair| pair[0] == b"--data" && OsStr::from_bytes(pair[1]) == data.as_os_str())
}
