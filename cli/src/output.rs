//! Writing results to stdout. A reader that went away (`granary scan | head`) is not an error.

use std::io::{self, ErrorKind, Write as _};

use serde::Serialize;

use crate::failure::Failure;

/// Writes `bytes` as they are.
pub fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    ended(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Writes `text` and the end of the line.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    ended(writeln!(out, "{text}").and_then(|()| out.flush()))
}

/// Writes `value` as JSON on one line.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
    line(&text)
}

/// The result of writing to stdout; leaves the process quietly when nobody reads any more.
pub fn ended(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.map_err(|error| Failure::failed(format!("cannot write to stdout: {error}"))),
    }
}
