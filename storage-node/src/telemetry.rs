//! Logs: text for people in a terminal, one JSON object a line otherwise. Knows no other part of the node.

use std::io::{self, IsTerminal as _};

use thiserror::Error;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::options::LogFormat;

/// What is logged when RUST_LOG is not set.
const DEFAULT_FILTER: &str = "info,raft=warn";

/// Why logging could not begin.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// RUST_LOG is not a filter.
    #[error("RUST_LOG is {value:?}, which is not a filter such as \"info,raft=warn\": {problem}")]
    Filter {
        /// What it is.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Logging had begun before.
    #[error("logging was set up twice")]
    Twice,
}

/// Begins to log to standard error. Once a process.
///
/// # Errors
/// When RUST_LOG cannot be read, or logging had begun.
pub fn start(format: LogFormat) -> Result<(), TelemetryError> {
    let filter = filter(std::env::var("RUST_LOG").ok())?;
    let text = match format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let started = if text {
        let ansi = io::stderr().is_terminal();
        registry.with(fmt::layer().with_writer(io::stderr).with_ansi(ansi)).try_init()
    } else {
        registry.with(fmt::layer().json().flatten_event(true).with_writer(io::stderr)).try_init()
    };
    started.map_err(|_| TelemetryError::Twice)
}

fn filter(wanted: Option<String>) -> Result<EnvFilter, TelemetryError> {
    let value = wanted.filter(|value| !value.is_empty()).unwrap_or_else(|| DEFAULT_FILTER.to_owned());
    EnvFilter::try_new(&value).map_err(|error| TelemetryError::Filter { problem: error.to_string(), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unset_or_empty_filter_is_the_default() {
        let default = filter(None).unwrap().to_string();
        assert!(default.contains("info") && default.contains("raft=warn"), "{default}");
        assert_eq!(filter(Some(String::new())).unwrap().to_string(), default);
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_shown() {
        let error = filter(Some("granary=loud".to_owned())).unwrap_err();
        assert!(error.to_string().contains("granary=loud"), "{error}");
    }
}
