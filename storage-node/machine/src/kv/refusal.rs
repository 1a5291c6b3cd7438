//! Refusals of the data API, and the one table of their gRPC codes.

use granary_proto::kv::{Error, Reason};

use crate::errors::code;

/// The gRPC status code that goes with a reason.
pub fn reason_code(reason: Reason) -> u32 {
    match reason {
        Reason::Invalid => code::INVALID_ARGUMENT,
        Reason::NotLeader | Reason::WrongRange | Reason::NotReady => code::UNAVAILABLE,
        Reason::Busy | Reason::ReadOnly => code::RESOURCE_EXHAUSTED,
        Reason::OutcomeUnknown | Reason::Unspecified => code::UNKNOWN,
        Reason::Timeout => code::DEADLINE_EXCEEDED,
        Reason::TooOld | Reason::TooStale => code::FAILED_PRECONDITION,
        Reason::Internal => code::INTERNAL,
    }
}

/// A refusal with the code of its reason, about no field, without a hint.
pub fn kv_error(reason: Reason, message: impl Into<String>) -> Error {
    Error { code: reason_code(reason), reason: reason.into(), message: message.into(), ..Default::default() }
}

/// A request is refused before anything was done for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Invalid {
    /// The offending field, such as `writes[3].key`.
    pub field: String,
    /// What it is and what is allowed.
    pub message: String,
    /// [`Reason::Invalid`] in all cases but one: [`Reason::OutcomeUnknown`] for a retry that comes too late.
    pub reason: Reason,
}

impl Invalid {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), reason: Reason::Invalid }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        let message = invalid.to_string();
        Self { field: invalid.field, ..kv_error(invalid.reason, message) }
    }
}
