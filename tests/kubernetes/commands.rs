//! Runs programs: bounded in time, with what they said.

use std::{process::Stdio, time::Duration};

use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use crate::failure::{Failure, Result, failed};

/// Longest run of a program that was given no limit of its own.
pub const LIMIT: Duration = Duration::from_secs(180);

/// What came of a program.
#[derive(Clone, Debug)]
pub struct Done {
    what: String,
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// Standard output of a program that had to work.
    pub fn worked(self) -> Result<String> {
        match self.code {
            0 => Ok(self.stdout),
            code => failed(format!("{} ended with {code}: {} {}", self.what, self.stderr.trim(), self.stdout.trim())),
        }
    }

    /// Standard error of a program that had to refuse.
    pub fn refused(self) -> Result<String> {
        match self.code {
            0 => failed(format!("{} should have been refused: {}", self.what, self.stdout.trim())),
            _ => Ok(self.stderr),
        }
    }
}

/// Runs a program to its end.
pub async fn run(program: &str, arguments: &[&str], stdin: &str) -> Result<Done> {
    run_within(LIMIT, program, arguments, stdin).await
}

/// The same with a limit; a program that takes longer is killed.
pub async fn run_within(limit: Duration, program: &str, arguments: &[&str], stdin: &str) -> Result<Done> {
    let name = program.rsplit('/').next().unwrap_or(program);
    let what = format!("{name} {}", arguments.join(" "));
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| Failure(format!("{what}: {error}")))?;
    let input = child.stdin.take();
    let all = async {
        if let Some(mut input) = input {
            // A program that reads nothing may be gone already.
            let _ = input.write_all(stdin.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let Ok(done) = timeout(limit, all).await else {
        return failed(format!("{what} took longer than {} s", limit.as_secs()));
    };
    let done = done.map_err(|error| Failure(format!("{what}: {error}")))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Done { what, code: done.status.code().unwrap_or(-1), stdout: text(done.stdout), stderr: text(done.stderr) })
}
