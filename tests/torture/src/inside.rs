//! A run is in namespaces of its own for processes, mounts and network: nothing of it is seen outside, and nothing of
//! it is left when it ends, however it ends, since the kernel ends what is in the namespaces with their first process.

use std::{
    env,
    io::Read as _,
    path::Path,
    process::{ExitStatus, Stdio},
};

use granary_tests::{HarnessError, Result};
use tokio::{
    process::Command,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::shim;

/// Set for the process inside.
const INSIDE: &str = "GRANARY_TORTURE_INSIDE";

/// Whether this is the process inside.
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// What is missing to run here.
pub fn available() -> Result<()> {
    granary_powercut::available().map_err(HarnessError)?;
    let path = env::var_os("PATH").unwrap_or_default();
    for (program, package) in [("unshare", "util-linux"), ("ip", "iproute2"), ("iptables", "iptables")] {
        let found = env::split_paths(&path).any(|dir| dir.join(program).is_file());
        if !found {
            return Err(HarnessError(format!(
                "{program} is not installed: `scripts/setup torture` installs {package}"
            )));
        }
    }
    match shim::clock_library() {
        Some(_) => Ok(()),
        None => Err(HarnessError("libfaketime is not installed: `scripts/setup torture` installs it".into())),
    }
}

/// Runs this program again, inside, and waits for its end. Ctrl-C and SIGTERM ask it to stop.
pub async fn run(args: &[String]) -> Result<ExitStatus> {
    let failed = |error| HarnessError::because("running in namespaces", error);
    let this = env::current_exe().map_err(failed)?;
    let mut stop = Stop::new()?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]).arg(this).args(args);
    let mut child = command.env(INSIDE, "1").stdin(Stdio::piped()).spawn().map_err(failed)?;
    // The process inside stops when this end is closed, also when this process is killed.
    let line = child.stdin.take();
    tokio::select! {
        ended = child.wait() => return ended.map_err(failed),
        () = stop.asked() => drop(line),
    }
    child.wait().await.map_err(failed)
}

/// Completes, inside, when it is asked to stop.
pub async fn asked_to_stop() -> Result<()> {
    let mut stop = Stop::new()?;
    let (close, closed) = tokio::sync::oneshot::channel();
    // A thread of its own: the runtime would wait for one of its threads at the end.
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        let _ = close.send(());
    });
    tokio::select! {
        () = stop.asked() => {}
        _ = closed => {}
    }
    Ok(())
}

struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> Result<Self> {
        let failed = |error| HarnessError::because("listening for signals", error);
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate()).map_err(failed)? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// One run at a time in a directory: the lock goes with its holder.
pub fn lock(dir: &Path) -> Result<std::fs::File> {
    let path = dir.join("lock");
    let failed = |error| HarnessError::because(path.display(), error);
    let file = std::fs::File::options().create(true).append(true).open(&path).map_err(failed)?;
    file.try_lock().map_err(|_| HarnessError(format!("another run works in {}", dir.display())))?;
    Ok(file)
}
