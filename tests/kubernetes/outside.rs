//! Brings Kubernetes up with Granary's image in it, runs this program inside, and takes Kubernetes down, however that ended.

use std::{
    env,
    fs::File,
    process::{ExitCode, ExitStatus},
    time::{Duration, Instant},
};

use granary_tests::programs;
use tokio::{
    process::Command,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{gate, helm::repository, options::Options, report, scenarios::Scenario};

/// Enters a mount namespace of its own, where names resolve as in the pods, and ends with its parent.
const INSIDE: &str = "mount --bind \"$GRANARY_TESTBED_STATE/config/resolv.conf\" /etc/resolv.conf && \
                      exec setpriv --pdeathsig KILL \"$@\"";

/// Runs the scenarios, and gives what the process ends with.
pub async fn run(options: &Options, wanted: &[&Scenario]) -> ExitCode {
    let started = Instant::now();
    if let Err(why) = if options.attach { Ok(()) } else { gate::look().await } {
        return gate::skipped(&why);
    }
    for program in ["granary-node", "granary", "granary-operator"] {
        if let Err(error) = programs::path(program) {
            eprintln!("FAILED: {error}");
            return ExitCode::FAILURE;
        }
    }
    // Held until the end. Two runs that take each other's Kubernetes down would only confuse.
    let lock = env::temp_dir().join(format!("granary-kubernetes-{}.lock", options.instance));
    let held = File::create(&lock).is_ok_and(|file| file.try_lock().is_ok_and(|()| leaked(file)));
    if !held {
        eprintln!("FAILED: another run uses the Kubernetes {:?}: give --instance another name", options.instance);
        return ExitCode::FAILURE;
    }
    let Ok(mut testbed) = Testbed::new(&options.instance) else {
        eprintln!("FAILED: no signals");
        return ExitCode::FAILURE;
    };
    let outcome = testbed.scenarios(options).await;
    if !options.attach && !options.keep {
        testbed.down().await;
    } else if options.keep {
        println!("left up: tests/kubernetes/testbed/enter --name {}", options.instance);
    }
    report::add_duration(started.elapsed());
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("FAILED: {} scenarios on Kubernetes: {why}", wanted.len());
            ExitCode::FAILURE
        }
    }
}

/// Keeps a file open, and so locked, for as long as the process runs.
fn leaked(file: File) -> bool {
    std::mem::forget(file);
    true
}

struct Testbed {
    name: String,
    interrupt: Signal,
    terminate: Signal,
}

impl Testbed {
    fn new(name: &str) -> std::io::Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { name: name.to_owned(), interrupt, terminate })
    }

    async fn scenarios(&mut self, options: &Options) -> Result<(), String> {
        let mut facts = vec![];
        if !options.attach {
            // Of a run that was killed: nothing of it can be trusted.
            self.down().await;
            facts.push(("testbed_up_s", self.script("up", &["--nodes", "3"]).await?));
        }
        facts.push(("images_load_s", self.script("images", &["load"]).await?));
        report::begin(&facts);
        let this = env::current_exe().map_err(|error| error.to_string())?;
        let mut inside = self.command("enter");
        inside.args(["unshare", "--mount", "--propagation", "slave", "bash", "-c", INSIDE, "bash"]);
        inside.arg(this).arg("--inside").args(env::args_os().skip(1));
        let ended = self.wait(inside, "the scenarios").await?;
        if ended.success() { Ok(()) } else { Err(format!("see above, and {}", report::file().display())) }
    }

    /// Takes it down, whatever there is of it. Not cut short by a second Ctrl-C.
    async fn down(&self) {
        let mut down = self.command("down");
        // Ctrl-C in a terminal goes to all of the group.
        down.process_group(0);
        match down.status().await {
            Ok(status) if status.success() => {}
            ended => eprintln!("tests/kubernetes/testbed/down --name {} did not work: {ended:?}", self.name),
        }
    }

    /// Runs a script of the testbed; gives how long it took.
    async fn script(&mut self, script: &str, arguments: &[&str]) -> Result<Duration, String> {
        let started = Instant::now();
        let mut command = self.command(script);
        command.args(arguments);
        let what = format!("tests/kubernetes/testbed/{script}");
        let ended = self.wait(command, &what).await?;
        if ended.success() { Ok(started.elapsed()) } else { Err(format!("{what} ended with {ended}")) }
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new(repository(&format!("tests/kubernetes/testbed/{script}")));
        command.args(["--name", &self.name]).kill_on_drop(true);
        command
    }

    async fn wait(&mut self, mut command: Command, what: &str) -> Result<ExitStatus, String> {
        let mut child = command.spawn().map_err(|error| format!("{what}: {error}"))?;
        tokio::select! {
            ended = child.wait() => ended.map_err(|error| format!("{what}: {error}")),
            _ = self.interrupt.recv() => Err(format!("interrupted during {what}")),
            _ = self.terminate.recv() => Err(format!("told to stop during {what}")),
        }
    }
}
