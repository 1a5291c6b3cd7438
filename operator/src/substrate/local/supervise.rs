//! One node's process: started, adopted, watched, left alone for a while when it does not stay up.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    backoff::Backoff,
    files::doing,
    layout::{self, Layout},
    logs, ports,
    process::{self, Identity},
    record::Record,
};
use crate::substrate::SubstrateError;

/// Time from the request to stop to the kill.
pub(super) const GRACE: Duration = Duration::from_secs(20);
/// Deaths in a row from which status speaks of them.
const NOTED_DEATHS: u32 = 2;

/// The process of one place, if any.
#[derive(Debug, Default)]
pub(super) struct Supervised {
    running: Option<Running>,
    backoff: Backoff,
    not_before: Option<Instant>,
    last_exit: Option<ExitStatus>,
}

#[derive(Debug)]
struct Running {
    identity: Identity,
    /// `None` when it was started by an earlier loop.
    child: Option<Child>,
    since: Instant,
    asked_to_stop: Option<Instant>,
    killed: bool,
}

impl Supervised {
    /// The process that an earlier loop left.
    pub(super) fn adopt(layout: &Layout, index: u32) -> Result<Self, SubstrateError> {
        let running = process::find(layout, index)?.map(|identity| Running::new(identity, None));
        Ok(Self { running, ..Self::default() })
    }

    /// Whether it runs. Reaps it when it has ended.
    pub(super) fn is_running(&mut self) -> bool {
        let Some(running) = &mut self.running else { return false };
        let ended = match &mut running.child {
            Some(child) => child.try_wait().unwrap_or_default(),
            None => None,
        };
        if ended.is_none() && running.identity.is_alive() {
            return true;
        }
        self.last_exit = ended;
        self.not_before = Some(Instant::now() + self.backoff.died(running.since.elapsed()));
        self.running = None;
        false
    }

    /// Its pid while it runs.
    pub(super) fn pid(&mut self) -> Option<u32> {
        if self.is_running() { self.running.as_ref().map(|running| running.identity.pid) } else { None }
    }

    /// How long it is still left alone; `None`: it may be started.
    pub(super) fn backing_off(&self) -> Option<Duration> {
        self.not_before?.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
    }

    /// What a person should know of a process that does not stay up.
    pub(super) fn note(&self, layout: &Layout, index: u32) -> Option<String> {
        let down = self.running.is_none() && self.backoff.deaths() >= NOTED_DEATHS;
        down.then(|| {
            let exit = self.last_exit.map_or("ended".to_owned(), |status| format!("ended with {status}"));
            let (name, deaths, log) = (layout::name(index), self.backoff.deaths(), layout.log(index));
            format!("{name} {exit}, {deaths} times in a row; {} says: {}", log.display(), logs::last_line(&log))
        })
    }

    /// Starts the process. None runs.
    pub(super) fn start(
        &mut self,
        layout: &Layout,
        binary: &Path,
        record: &Record,
        index: u32,
    ) -> Result<(), SubstrateError> {
        let Some(place) = record.places.get(&index) else {
            return Err(SubstrateError::Place(format!("{} has no ports", layout::name(index))));
        };
        let data = layout.data(index);
        fs::create_dir_all(&data).map_err(doing(format!("cannot make {}", data.display())))?;
        let log = layout.log(index);
        let (out, err) = logs::open(&log).map_err(doing(format!("cannot open {}", log.display())))?;
        let mut command = Command::new(binary);
        command.arg("--data").arg(&data).args(["--name", &layout::name(index)]);
        command.args(["--kv-listen", &ports::address(place.kv_port)]);
        command.args(["--peer-listen", &ports::address(place.peer_port)]);
        command.args(["--metrics-listen", &ports::address(place.metrics_port)]);
        for (_, other) in record.places.iter().filter(|(other, _)| **other != index) {
            command.args(["--seed", &ports::address(other.peer_port)]);
        }
        // A process group of its own: Ctrl-C in the terminal reaches the loop alone, which then stops its nodes.
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        let child = command.spawn().map_err(doing(format!("cannot start {}", binary.display())))?;
        let pid = child.id();
        // A process that has ended already is seen as such in the next round.
        let identity = Identity::of(pid).unwrap_or(Identity { pid, started: 0 });
        self.running = Some(Running::new(identity, Some(child)));
        process::note(layout, index, identity)
    }

    /// Asks the process to stop; kills it when it was asked [`GRACE`] ago. `true`: it was killed by this call.
    pub(super) fn ask_to_stop(&mut self) -> bool {
        let Some(running) = &mut self.running else { return false };
        match running.asked_to_stop {
            None => {
                running.asked_to_stop = Some(Instant::now());
                running.identity.signal(Signal::TERM);
            }
            Some(asked) if asked.elapsed() >= GRACE && !running.killed => {
                running.killed = true;
                running.identity.signal(Signal::KILL);
                return true;
            }
            Some(_) => {}
        }
        false
    }
}

impl Running {
    fn new(identity: Identity, child: Option<Child>) -> Self {
        Self { identity, child, since: Instant::now(), asked_to_stop: None, killed: false }
    }
}
