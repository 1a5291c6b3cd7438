//! `granary local up`: in the foreground, or detached as a process of its own.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use granary_operator::{
    local_loop::{LocalError, LocalLoop, Options, node_binary},
    reconcile::LoopError,
    spec_file::SpecFile,
    substrate::local::{layout::Layout, lock::Lock, status_file::StatusFile},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, watch},
    time::{Instant, sleep},
};

use super::progress::Progress;
use crate::{context::Context, failure::Failure, output};

/// Longest time until a detached cluster is ready.
const READY: Duration = Duration::from_secs(120);
/// Between two looks at a detached cluster.
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `granary local up`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The StorageCluster (YAML). It is followed: edit and save to change the cluster
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Leave the cluster in the background and return when it is ready
    #[arg(long)]
    detach: bool,
    /// The node's program; without it, granary-node beside this program, else on the PATH
    #[arg(long, value_name = "PATH")]
    node_binary: Option<PathBuf>,
    /// Set by --detach: this is the process in the background
    #[arg(long, hide = true, conflicts_with = "detach")]
    foreground_child: bool,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    if args.detach { detach(context, &args).await } else { foreground(context, &args).await }
}

async fn foreground(context: &Context, args: &Args) -> Result<(), Failure> {
    if args.foreground_child {
        // A session of its own: closing the terminal does not end it. Fails only where it leads a group already.
        let _ = rustix::process::setsid();
    }
    let options = Options {
        file: args.file.clone(),
        dir: context.dir().to_owned(),
        node_binary: node_binary(args.node_binary.as_deref()),
    };
    let cluster = LocalLoop::open(&options).map_err(failure)?;
    let stopping = Arc::new(Notify::new());
    let shown = tokio::spawn(show(cluster.watch(), stopping.clone(), context.json()));
    let signal = stop_signal().map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let stop = async move {
        signal.await;
        stopping.notify_one();
    };
    let stopped = cluster.run(stop).await;
    // It ends with the loop, and has given the terminal back then.
    let _ = shown.await;
    super::say(context, &stopped.map_err(failure)?, "The data is kept; `granary local up` goes on with it.")
}

/// Completes at Ctrl-C or SIGTERM; registered when it is made, so that none is missed.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Shows what the loop sees until the loop is gone.
async fn show(mut seen: watch::Receiver<StatusFile>, stopping: Arc<Notify>, quiet: bool) {
    let mut progress = Progress::new(quiet);
    let mut was_ready = false;
    loop {
        tokio::select! {
            changed = seen.changed() => if changed.is_err() { break },
            () = stopping.notified() => {
                progress.say("stopping the nodes");
                continue;
            }
        }
        let status = seen.borrow_and_update().clone();
        progress.show(&status);
        if status.ready && !was_ready {
            progress.say(&ready_line(&status));
        }
        was_ready = status.ready;
    }
    progress.done();
}

fn ready_line(status: &StatusFile) -> String {
    format!(
        "ready: {} nodes, {} shards; endpoints {}",
        status.nodes.len(),
        status.shards,
        status.kv_endpoints.join(",")
    )
}

async fn detach(context: &Context, args: &Args) -> Result<(), Failure> {
    // What is wrong with the file, or who works on the directory, is said here and not in a log.
    SpecFile::open(&args.file).map_err(Failure::failed)?;
    let layout = Layout::create(context.dir()).map_err(super::failure)?;
    drop(Lock::take(&layout).map_err(super::failure)?);
    let log = layout.operator_log();
    let mut child = spawn(&layout, args, &log)
        .map_err(|error| Failure::failed(format!("cannot start the process in the background: {error}")))?;
    let status = until_ready(&layout, &mut child, &log, context.json()).await?;
    if context.json() {
        return output::json(&status);
    }
    output::line(&ready_line(&status))?;
    output::line("It runs in the background; `granary status` tells, `granary local down` stops it.")
}

fn spawn(layout: &Layout, args: &Args, log: &Path) -> std::io::Result<Child> {
    let out = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["local", "up", "--foreground-child", "--file"]).arg(&args.file).arg("--dir").arg(layout.dir());
    if let Some(binary) = &args.node_binary {
        command.arg("--node-binary").arg(binary);
    }
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn()
}

async fn until_ready(layout: &Layout, child: &mut Child, log: &Path, quiet: bool) -> Result<StatusFile, Failure> {
    let deadline = Instant::now() + READY;
    let mut progress = Progress::new(quiet);
    loop {
        if let Ok(Some(ended)) = child.try_wait() {
            return Err(Failure::failed(format!("the process in the background {ended}; {} says why", log.display())));
        }
        // What an earlier loop wrote says nothing of this one.
        let status = StatusFile::load(layout).map_err(super::failure)?;
        if let Some(status) = status.filter(|status| status.operator_pid == child.id()) {
            progress.show(&status);
            if status.ready {
                progress.done();
                return Ok(status);
            }
        }
        if Instant::now() >= deadline {
            return Err(Failure::failed(format!(
                "not ready after {} s; it goes on in the background: `granary status` tells, `granary local down` stops it",
                READY.as_secs()
            )));
        }
        sleep(LOOK).await;
    }
}

fn failure(error: LocalError) -> Failure {
    match error {
        LocalError::Substrate(error) => super::failure(error),
        LocalError::Loop(LoopError::TakenOver(_)) => Failure::refused(error),
        LocalError::Spec(_) | LocalError::Loop(_) => Failure::failed(error),
    }
}
