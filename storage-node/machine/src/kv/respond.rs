//! Answers of the machine as answers of the wire.

use granary_common::ShardId;
use granary_proto::{
    kv::{CompareAndSetResponse, Current, DeleteResponse, Error, Hint, PutResponse, Reason, ShardOutcome, TxnResponse},
    storage::{Answer, Written, answer::Kind},
};

use super::refusal::kv_error;

/// The answer to a put.
pub fn put_response(shard: ShardId, answer: Answer) -> Result<PutResponse, Error> {
    Ok(PutResponse { revision: written(shard, answer)?.revision })
}

/// The answer to a delete.
pub fn delete_response(shard: ShardId, answer: Answer) -> Result<DeleteResponse, Error> {
    let Written { revision, existed } = written(shard, answer)?;
    Ok(DeleteResponse { existed, revision })
}

/// The answer to a compare-and-set.
pub fn compare_and_set_response(shard: ShardId, answer: Answer) -> Result<CompareAndSetResponse, Error> {
    Ok(match guarded(shard, answer)? {
        Guarded::Done(Written { revision, .. }) => CompareAndSetResponse { succeeded: true, revision, current: None },
        Guarded::Failed(current) => {
            CompareAndSetResponse { succeeded: false, revision: 0, current: current.into_iter().next() }
        }
    })
}

/// The answer to a transaction.
pub fn txn_response(shard: ShardId, answer: Answer) -> Result<TxnResponse, Error> {
    Ok(match guarded(shard, answer)? {
        Guarded::Done(Written { revision, .. }) => TxnResponse { succeeded: true, revision, failed: Vec::new() },
        Guarded::Failed(failed) => TxnResponse { succeeded: false, revision: 0, failed },
    })
}

/// One shard's outcome of a batch or of the deletion of a range.
pub fn shard_outcome(shard: ShardId, answer: Result<Answer, Error>) -> ShardOutcome {
    match answer.and_then(|answer| written(shard, answer)) {
        Ok(Written { revision, .. }) => ShardOutcome { shard_id: shard.0, revision, error: None },
        Err(error) => ShardOutcome { shard_id: shard.0, revision: 0, error: Some(error) },
    }
}

enum Guarded {
    Done(Written),
    Failed(Vec<Current>),
}

fn guarded(shard: ShardId, answer: Answer) -> Result<Guarded, Error> {
    match answer.kind {
        Some(Kind::Written(written)) => Ok(Guarded::Done(written)),
        Some(Kind::GuardFailed(failed)) => Ok(Guarded::Failed(failed.current)),
        Some(Kind::WrongRange(range)) => {
            let message = format!(
                "{shard} owns slots {}..{} only, not those of this request; refresh the map and try again",
                range.start, range.end
            );
            let hint = Hint { shard_id: shard.0, range: Some(range), ..Default::default() };
            Err(Error { hint: Some(hint), ..kv_error(Reason::WrongRange, message) })
        }
        Some(Kind::TooOld(too_old)) => {
            let message = format!(
                "retry.sequence is below {}, up to where this client said that it has all answers; it cannot be told \
                 whether this write was applied",
                too_old.answered_below
            );
            Err(Error { field: "retry.sequence".into(), ..kv_error(Reason::TooOld, message) })
        }
        None => Err(kv_error(Reason::Internal, format!("{shard} gave an answer of an unknown kind"))),
    }
}

fn written(shard: ShardId, answer: Answer) -> Result<Written, Error> {
    match guarded(shard, answer)? {
        Guarded::Done(written) => Ok(written),
        // Its retry number was given to a guarded write before: a client that reuses numbers.
        Guarded::Failed(_) => {
            let message = format!("{shard} knows this retry.sequence as that of another, guarded write");
            Err(Error { field: "retry.sequence".into(), ..kv_error(Reason::Internal, message) })
        }
    }
}
