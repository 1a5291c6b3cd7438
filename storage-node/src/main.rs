//! The program: reads the options, begins to log, and runs the node until it is asked to stop.

use std::{backtrace::Backtrace, error::Error, panic};

use clap::Parser as _;
use granary_node::{
    exit::{FAILED, exit},
    node::{self, NodeError},
    options::Options,
    telemetry,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads for connections and requests; the store has its own.
const WORKERS: usize = 2;
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(node::run(options));
    // Whatever still runs there ends with the process.
    runtime.shutdown_background();
    Ok(outcome?)
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
