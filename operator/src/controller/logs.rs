//! Logs: text for people in a terminal, one JSON object a line otherwise. Knows no other part of the operator.

use std::io::{self, IsTerminal as _};

use thiserror::Error;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::options::LogFormat;

/// What is logged when RUST_LOG is not set.
const DEFAULT_FILTER: &str = "info,kube_client=warn,kube_runtime=warn";

/// Why logging could not begin.
#[derive(Debug, Error)]
pub enum LogError {
    /// RUST_LOG is not a filter.
    #[error("RUST_LOG is {value:?}, which is not a filter such as \"info,granary_operator=debug\": {problem}")]
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
pub fn start(format: LogFormat) -> Result<(), LogError> {
    let filter = filter(std::env::var("RUST_LOG").ok())?;
    let terminal = io::stderr().is_terminal();
    let registry = tracing_subscriber::registry().with(filter);
    let text = format == LogFormat::Text || (format == LogFormat::Auto && terminal);
    let started = if text {
        registry.with(fmt::layer().with_writer(io::stderr).with_ansi(terminal)).try_init()
    } else {
        registry.with(fmt::layer().json().flatten_event(true).with_writer(io::stderr)).try_init()
    };
    started.map_err(|_| LogError::Twice)
}

fn filter(wanted: Option<String>) -> Result<EnvFilter, LogError> {
    let value = wanted.filter(|value| !value.is_empty()).unwrap_or_else(|| DEFAULT_FILTER.to_owned());
    EnvFilter::try_new(&value).map_err(|error| LogError::Filter { problem: error.to_string(), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_shown_and_an_empty_one_is_the_default() {
        assert!(filter(Some("granary=loud".into())).unwrap_err().to_string().contains("granary=loud"));
        assert_eq!(filter(Some(String::new())).unwrap().to_string(), filter(None).unwrap().to_string());
    }
}
