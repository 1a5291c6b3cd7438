//! Brings Kubernetes up with Granary's image in it, runs this program inside, and takes Kubernetes down, however that ended.

use std::{
    env,
    fs::File,
    process::{ExitCode, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use futures::future::join_all;
use granary_tests::programs;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{ChildStdout, Command},
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    figures::Figures,
    gate,
    helm::repository,
    options::Options,
    queue,
    report::{self, Report},
    scenarios::Scenario,
};

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
    let lanes = options.lanes.min(wanted.len());
    let prepared = queue::open().map_err(|error| format!("the queue: {error}"));
    Report::begin(lanes);
    let testbeds = (1..=lanes).map(|lane| Testbed::new(options, lane)).collect::<std::io::Result<Vec<_>>>();
    let (Ok(()), Ok(mut testbeds)) = (&prepared, testbeds) else {
        eprintln!("FAILED: no signals, or no folder for the queue: {prepared:?}");
        return ExitCode::FAILURE;
    };
    println!("\nrunning {} scenarios on Kubernetes, in {lanes} lanes", wanted.len());
    let outcomes = join_all(testbeds.iter_mut().map(|testbed| testbed.scenarios(options, lanes))).await;
    if options.keep {
        println!("left up: tests/kubernetes/testbed/enter --name {}", options.instance);
    } else if !options.attach {
        join_all(testbeds.iter().map(Testbed::down)).await;
    }
    let mut figures = Figures::new();
    testbeds[0].facts.iter().for_each(|(name, time)| figures.seconds(name, *time));
    figures.put("lanes", lanes);
    figures.seconds("total_s", started.elapsed());
    let names: Vec<_> = wanted.iter().map(|scenario| scenario.name).collect();
    let report = Report::of_lanes(lanes, &names, &figures);
    report.print(wanted.len());
    let broken: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    if report.ok && broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("FAILED: {} scenarios on Kubernetes: {}", wanted.len(), broken.join("; "));
    ExitCode::FAILURE
}

/// Keeps a file open, and so locked, for as long as the process runs.
fn leaked(file: File) -> bool {
    std::mem::forget(file);
    true
}

/// The Kubernetes of one lane.
struct Testbed {
    name: String,
    lane: usize,
    /// How long what took.
    facts: Vec<(&'static str, Duration)>,
    interrupt: Signal,
    terminate: Signal,
}

impl Testbed {
    fn new(options: &Options, lane: usize) -> std::io::Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let name = if lane == 1 { options.instance.clone() } else { format!("{}-{lane}", options.instance) };
        Ok(Self { name, lane, facts: vec![], interrupt, terminate })
    }

    async fn scenarios(&mut self, options: &Options, lanes: usize) -> Result<(), String> {
        if !options.attach {
            // Of a run that was killed: nothing of it can be trusted.
            self.down().await;
            let up = self.script("up", &["--nodes", "3"]).await?;
            self.facts.push(("testbed_up_s", up));
        }
        let load = self.script("images", &["load"]).await?;
        self.facts.push(("images_load_s", load));
        let this = env::current_exe().map_err(|error| error.to_string())?;
        let mut inside = self.command("enter");
        inside.args(["unshare", "--mount", "--propagation", "slave", "bash", "-c", INSIDE, "bash"]);
        inside.arg(this).arg("--inside").args(env::args_os().skip(1)).args(["--lane", &self.lane.to_string()]);
        if lanes > 1 {
            inside.stdout(Stdio::piped());
        }
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
        if let Some(said) = child.stdout.take() {
            tokio::spawn(repeat(self.lane, said));
        }
        tokio::select! {
            ended = child.wait() => ended.map_err(|error| format!("{what}: {error}")),
            _ = self.interrupt.recv() => Err(format!("interrupted during {what}")),
            _ = self.terminate.recv() => Err(format!("told to stop during {what}")),
        }
    }
}

/// Says what a lane says, and which lane it was.
async fn repeat(lane: usize, said: ChildStdout) {
    let mut lines = BufReader::new(said).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        println!("{lane}| {line}");
    }
}
