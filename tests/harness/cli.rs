//! The `granary` command, run as a user runs it.

use std::{path::Path, process::Stdio};

use serde_json::Value;
use tokio::process::Command;

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

/// Runs `granary --dir DIR ARGS`, and gives what came of it.
pub async fn run(dir: &Path, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(programs::path("granary")?);
    command.arg("--dir").arg(dir).args(args).stdin(Stdio::null()).env_remove("GRANARY_ENDPOINTS");
    let done = command.output().await.map_err(|error| HarnessError::because("starting granary", error))?;
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
