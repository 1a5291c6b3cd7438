//! The `granary` command, run as a user runs it.

use std::{path::Path, process::Stdio};

use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{HarnessError, Result, programs};

/// What a command gave.
#[derive(Debug)]
pub struct Output {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.stdout)
            .map_err(|error| HarnessError(format!("not JSON: {error}: {} {}", self.text(), self.stderr)))
    }
}

/// What a run of the command gets besides its arguments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// Standard input.
    pub stdin: &'a [u8],
    /// Variables beside those of this process.
    pub env: &'a [(&'a str, &'a str)],
}

/// `granary --dir DIR ARGS`, without what the environment says of another cluster.
pub fn command(dir: &Path, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(programs::path("granary")?);
    command.arg("--dir").arg(dir).args(args).env_remove("GRANARY_ENDPOINTS").env_remove("GRANARY_PEER_ENDPOINTS");
    Ok(command)
}

/// Runs `granary --dir DIR ARGS`, and gives what came of it.
pub async fn run(dir: &Path, args: &[&str]) -> Result<Output> {
    run_with(dir, args, Given::default()).await
}

/// The same, with standard input and variables.
pub async fn run_with(dir: &Path, args: &[&str], given: Given<'_>) -> Result<Output> {
    let mut command = command(dir, args)?;
    command.envs(given.env.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let failed = |error| HarnessError::because("running granary", error);
    let mut child = command.spawn().map_err(failed)?;
    let mut stdin = child.stdin.take();
    let input = async {
        if let Some(mut stdin) = stdin.take() {
            // A command that needs no input may be gone already.
            let _ = stdin.write_all(given.stdin).await;
        }
    };
    let ((), done) = tokio::join!(input, child.wait_with_output());
    let done = done.map_err(failed)?;
    Ok(Output {
        code: done.status.code().unwrap_or(-1),
        stdout: done.stdout,
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    })
}

/// The same, with progress bars on this terminal.
pub async fn run_in_sight(dir: &Path, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(programs::path("granary")?);
    command.arg("--dir").arg(dir).args(args).stdin(Stdio::null()).env_remove("GRANARY_ENDPOINTS");
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    let done = command.output().await.map_err(|error| HarnessError::because("starting granary", error))?;
    Ok(Output { code: done.status.code().unwrap_or(-1), stdout: done.stdout, stderr: String::new() })
}

/// Runs a command with `-o json` and gives its answer; anything but exit code 0 is an error.
pub async fn json(dir: &Path, args: &[&str]) -> Result<Value> {
    let args: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
    let output = run(dir, &args).await?;
    if output.code == 0 {
        output.json()
    } else {
        Err(HarnessError(format!("granary {} ended with {}: {}", args.join(" "), output.code, output.stderr.trim())))
    }
}
