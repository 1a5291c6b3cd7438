//! The program: reads the options, begins to log, and runs the node until it is asked to stop.

use std::{backtrace::Backtrace, error::Error, io, panic};

use clap::Parser as _;
use granary_node::{
    exit::{FAILED, exit},
    node::{self, NodeError},
    options::Options,
    telemetry,
};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads for clients' connections and requests: one for two cores, as store, log and applier have their own, at most.
const MOST_REQUEST_WORKERS: usize = 4;
/// Threads for what may wait for the disk, such as pages of scans; more of it waits its turn.
const BLOCKING_THREADS: usize = 64;

fn main() {
    let options = Options::parse();
    match run(options) {
        Ok(()) => exit(0),
        Err(error) => {
            eprintln!("granary-node: {}", one_line(&*error));
            exit(error.downcast_ref::<NodeError>().map_or(FAILED, NodeError::exit_code))
        }
    }
}

fn run(options: Options) -> Result<(), Box<dyn Error>> {
    options.validate()?;
    telemetry::start(options.log_format)?;
    abort_on_panic();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let requests = runtime("requests", (cores / 2).clamp(1, MOST_REQUEST_WORKERS))?;
    // What nodes say to each other waits behind no client's read from the disk.
    let peers = runtime("peers", 1)?;
    let outcome = requests.block_on(node::run(options, peers.handle().clone()));
    // Whatever still runs there ends with the process.
    peers.shutdown_background();
    requests.shutdown_background();
    Ok(outcome?)
}

fn runtime(name: &str, workers: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name(name)
        .enable_all()
        .build()
}

/// A panic is a broken invariant. The node ends at once, so that nothing goes on upon it, and starts again from its disk.
fn abort_on_panic() {
    panic::set_hook(Box::new(|panicked| {
        let backtrace = Backtrace::force_capture();
        tracing::error!(%panicked, %backtrace, "a broken invariant ends the node; it starts again from its disk");
        std::process::abort();
    }));
}

/// The error and its causes, each said once.
fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !line.contains(&cause_text) {
            line.push_str(": ");
            line.push_str(&cause_text);
        }
        next = cause.source();
    }
    line.replace('\n', " ")
}
