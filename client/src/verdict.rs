//! What an answer means for the request: pure, so that every reason's treatment is read and tested in one place.

#[cfg(test)]
mod fuzz_tests;

use granary_proto::kv::{self, Reason, pipe_response::Response};

use crate::Error;

/// What to do next.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is the answer.
    Done(Response),
    /// Not applied here; this node (id) is said to lead.
    Follow(u64),
    /// Not applied here; another replica may know more.
    Elsewhere,
    /// Not applied; this replica is not fresh enough for the stale read.
    Staler(String),
    /// Not applied; the map is old.
    Refresh,
    /// Not applied; the node has too much to do and may take it after this time (ms).
    Later(u64),
    /// Not applied; the node had too little time.
    Again,
    /// May or may not be applied; ask again with the same number.
    Unknown,
    /// Not applied, and it makes no sense to ask again.
    Final(Error),
    /// As [`Verdict::Final`], but a write may have been applied.
    Broken(Error),
}

/// A verdict and the cause of it in words.
#[derive(Debug)]
pub(crate) struct Judged {
    /// What to do next.
    pub(crate) verdict: Verdict,
    /// For the error, should the time be over.
    pub(crate) cause: String,
}

/// Judges an answer. A failure of the only part of a batch or delete-range counts as the failure of the request.
pub(crate) fn judge(response: Response) -> Judged {
    let failed = match &response {
        Response::Error(error) => Some(error.clone()),
        Response::Batch(batch) => first_error(&batch.outcomes),
        Response::DeleteRange(deleted) => first_error(&deleted.outcomes),
        _ => None,
    };
    match failed {
        None => Judged { verdict: Verdict::Done(response), cause: String::new() },
        Some(error) => {
            let cause = describe(&error);
            Judged { verdict: of_error(error), cause }
        }
    }
}

fn first_error(outcomes: &[kv::ShardOutcome]) -> Option<kv::Error> {
    outcomes.iter().find_map(|outcome| outcome.error.clone())
}

fn describe(error: &kv::Error) -> String {
    match error.reason() {
        Reason::NotLeader => format!("no leader found ({})", error.message),
        Reason::Unspecified => format!("gRPC code {}: {}", error.code, error.message),
        _ => error.message.clone(),
    }
}

fn of_error(error: kv::Error) -> Verdict {
    let reason = error.reason();
    let kv::Error { message, field, retry_after_ms, hint, .. } = error;
    match reason {
        Reason::NotLeader => match hint.map(|hint| hint.leader_node_id) {
            Some(node) if node != 0 => Verdict::Follow(node),
            _ => Verdict::Elsewhere,
        },
        Reason::WrongRange => Verdict::Refresh,
        Reason::NotReady => Verdict::Elsewhere,
        Reason::Busy => Verdict::Later(retry_after_ms),
        Reason::Timeout => Verdict::Again,
        Reason::OutcomeUnknown => Verdict::Unknown,
        Reason::TooStale => Verdict::Staler(message),
        Reason::Invalid => Verdict::Final(Error::Invalid { field, message }),
        Reason::ReadOnly => Verdict::Final(Error::ReadOnly { message }),
        Reason::TooOld => Verdict::Final(Error::TooOld { message }),
        Reason::Internal | Reason::Unspecified => Verdict::Broken(Error::Internal { message }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(reason: Reason) -> kv::Error {
        kv::Error { reason: reason.into(), message: "m".to_owned(), ..kv::Error::default() }
    }

    #[test]
    fn only_an_unknown_outcome_and_a_fault_leave_it_open_whether_a_write_was_applied() {
        for number in 0..=11 {
            let reason = Reason::try_from(number).unwrap();
            let open = matches!(judge(Response::Error(error(reason))).verdict, Verdict::Unknown | Verdict::Broken(_));
            let expected = matches!(reason, Reason::OutcomeUnknown | Reason::Internal | Reason::Unspecified);
            assert_eq!(open, expected, "{reason:?}");
        }
    }

    #[test]
    fn a_failed_part_is_judged_as_the_request() {
        let outcome = kv::ShardOutcome { shard_id: 1, revision: 0, error: Some(error(Reason::WrongRange)) };
        let batch = kv::BatchResponse { outcomes: vec![outcome] };
        assert!(matches!(judge(Response::Batch(batch)).verdict, Verdict::Refresh));
        let done = kv::ShardOutcome { shard_id: 1, revision: 9, error: None };
        let batch = kv::BatchResponse { outcomes: vec![done] };
        assert!(matches!(judge(Response::Batch(batch)).verdict, Verdict::Done(_)));
    }
}
