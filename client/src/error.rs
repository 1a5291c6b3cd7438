//! What can go wrong, as callers see it.

use std::time::Duration;

/// Why a call did not give an answer. Unless it is [`Error::OutcomeUnknown`], the write was not applied.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request breaks a rule; the same request will never work.
    #[error("{field}: {message}")]
    Invalid {
        /// The field of the request.
        field: String,
        /// What it is and what is allowed.
        message: String,
    },
    /// The time was over before the cluster said whether the write was applied. It may have been, or may never be.
    #[error("the write may or may not have been applied: {cause}. Read the key to find out, or write it again")]
    OutcomeUnknown {
        /// What kept the answer away.
        cause: String,
    },
    /// The time was over. A write was not applied.
    #[error("no answer within {after:?}; last: {cause}. Try again, or allow more time")]
    Timeout {
        /// The time that was allowed.
        after: Duration,
        /// What went wrong last.
        cause: String,
    },
    /// The cluster had too much to do until the time was over. A write was not applied.
    #[error("the cluster is busy: {message}. Send less at once, or try again in {retry_after_ms} ms")]
    Busy {
        /// What the node said.
        message: String,
        /// Its advice; 0 when it has none.
        retry_after_ms: u64,
    },
    /// The disk of a node is nearly full, and the write was not applied. Reads and deletes still work.
    #[error("the cluster takes no writes: {message}. Delete data, or add nodes or disk")]
    ReadOnly {
        /// What the node said.
        message: String,
    },
    /// The cluster took this write's number for one whose answer was already taken. A fault of the client; please report.
    #[error("the cluster has forgotten this write's number: {message}")]
    TooOld {
        /// What the node said.
        message: String,
    },
    /// No replica is as fresh as the stale read asked.
    #[error("no replica is fresh enough: {message}. Allow more staleness, or read linearizably")]
    TooStale {
        /// What the last replica said.
        message: String,
    },
    /// A node found something broken, or answered what it must not.
    #[error("a node failed: {message}. Its log says more")]
    Internal {
        /// What it said.
        message: String,
    },
    /// No endpoint led to a cluster.
    #[error("no cluster found; tried {}. Check that it runs and that the endpoints are those of its data API", causes(.tried))]
    NoCluster {
        /// Each address with what went wrong there.
        tried: Vec<(String, String)>,
    },
}

fn causes(tried: &[(String, String)]) -> String {
    if tried.is_empty() {
        return "no endpoint (none was given)".to_owned();
    }
    let each: Vec<String> = tried.iter().map(|(address, cause)| format!("{address} ({cause})")).collect();
    each.join(", ")
}
