//! What kinds of requests there are: the closed set that limits and metrics go by.

use std::time::Duration;

use granary_common::limits::MAX_PAGE_BYTES;
use granary_proto::kv::{Error, pipe_request::Request};

use super::errors;

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Get.
    Get,
    /// Put.
    Put,
    /// Delete.
    Delete,
    /// Compare-and-set.
    CompareAndSet,
    /// Batch.
    Batch,
    /// Transaction.
    Txn,
    /// Delete a range.
    DeleteRange,
    /// One page of a scan.
    Scan,
}

impl Kind {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Get,
        Self::Put,
        Self::Delete,
        Self::CompareAndSet,
        Self::Batch,
        Self::Txn,
        Self::DeleteRange,
        Self::Scan,
    ];

    /// Of a request.
    pub fn of(request: &Request) -> Self {
        match request {
            Request::Get(_) => Self::Get,
            Request::Put(_) => Self::Put,
            Request::Delete(_) => Self::Delete,
            Request::CompareAndSet(_) => Self::CompareAndSet,
            Request::Batch(_) => Self::Batch,
            Request::Txn(_) => Self::Txn,
            Request::DeleteRange(_) => Self::DeleteRange,
            Request::Scan(_) => Self::Scan,
        }
    }

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::CompareAndSet => "compare_and_set",
            Self::Batch => "batch",
            Self::Txn => "txn",
            Self::DeleteRange => "delete_range",
            Self::Scan => "scan",
        }
    }

    /// Whether a request whose answer got lost may have changed something.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::Scan)
    }

    /// Bytes that are set aside for the answer while the request is under way. Answers that hold values of unknown
    /// length count for less than they may need: else only eight could be under way.
    pub(super) fn answer_reserve(self) -> usize {
        match self {
            Self::Put | Self::Delete => 64,
            Self::Batch | Self::DeleteRange => 16 << 10,
            Self::Get | Self::CompareAndSet | Self::Txn => 256 << 10,
            Self::Scan => MAX_PAGE_BYTES,
        }
    }
}

/// Time limit of a request that names none.
pub(super) const DEFAULT_LIMIT: Duration = Duration::from_secs(10);
/// Longest time limit.
pub(super) const MAX_LIMIT: Duration = Duration::from_secs(600);

/// The time limit of a request on a Pipe.
pub(super) fn limit(timeout_ms: u32) -> Result<Duration, Error> {
    match Duration::from_millis(timeout_ms.into()) {
        Duration::ZERO => Ok(DEFAULT_LIMIT),
        limit if limit <= MAX_LIMIT => Ok(limit),
        _ => {
            let problem = format!("is {timeout_ms}; 1 to {} are allowed, and 0 for the default", MAX_LIMIT.as_millis());
            Err(errors::invalid("timeout_ms", problem))
        }
    }
}

#[cfg(test)]
mod tests {
    use granary_proto::kv::Reason;

    use super::*;

    #[test]
    fn the_time_limit_defaults_to_ten_seconds_and_is_at_most_ten_minutes() {
        assert_eq!(limit(0).unwrap(), Duration::from_secs(10));
        assert_eq!(limit(1).unwrap(), Duration::from_millis(1));
        assert_eq!(limit(600_000).unwrap(), Duration::from_secs(600));
        let error = limit(600_001).unwrap_err();
        assert_eq!((error.reason(), error.field.as_str()), (Reason::Invalid, "timeout_ms"));
        assert!(error.message.contains("600001"), "{}", error.message);
    }

    #[test]
    fn numbers_of_kinds_are_their_places() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
    }
}
