//! How a command ends when it does not end well: an exit code and a message that says what to do.

use std::fmt;

/// Exit codes other than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something went wrong; the message says what.
    Failed = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// The key, shard or node is not there.
    NotFound = 3,
    /// A guard (a condition of the request, or of the cluster's safety) refused it; nothing was changed.
    Refused = 4,
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// Becomes the exit code of the process.
    pub exit: Exit,
    /// For stderr; empty when the command has said everything already.
    pub message: String,
}

impl Failure {
    /// With exit code 1.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Failed, message: message.to_string() }
    }

    /// With exit code 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    /// With exit code 3.
    pub fn not_found(message: impl fmt::Display) -> Self {
        Self { exit: Exit::NotFound, message: message.to_string() }
    }

    /// With exit code 4.
    pub fn refused(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Refused, message: message.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<granary_client::Error> for Failure {
    fn from(error: granary_client::Error) -> Self {
        match error {
            granary_client::Error::Invalid { .. } => Self::usage(error),
            _ => Self::failed(error),
        }
    }
}
