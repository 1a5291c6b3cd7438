//! The program `granary-operator`: reads the options and runs the controller, or one small helper of it.

use std::{error::Error, process::ExitCode};

use clap::Parser as _;
use granary_operator::controller::{
    logs,
    options::{Command, Options},
    probe::probe,
    run::run,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads of the runtime: the operator waits for others nearly all the time.
const WORKERS: usize = 2;
/// Threads for name lookups; more of them wait their turn.
const BLOCKING_THREADS: usize = 8;

fn main() -> ExitCode {
    let outcome = match Options::parse().command {
        Command::Run(options) => logs::start(options.log_format).map_err(Into::into).and_then(|()| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(WORKERS)
                .max_blocking_threads(BLOCKING_THREADS)
                .enable_all()
                .build()?;
            let outcome = runtime.block_on(run(*options));
            // Whatever still runs there ends with the process.
            runtime.shutdown_background();
            Ok::<_, Box<dyn Error>>(outcome?)
        }),
        Command::Probe { url } => probe(&url).map_err(Into::into),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("granary-operator: {}", one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, each said once.
fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        next = cause.source();
    }
    line.replace('\n', " ")
}
