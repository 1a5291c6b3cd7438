//! Where a replica stands after a start: how its log and its state fit together, whatever a crash cut off.

use granary_common::log::{HardState, Position};
use granary_proto::storage::ShardState;

/// What the disk holds of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFound {
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// The last entry that is no longer there.
    pub truncated: Position,
    /// The last entry; `truncated` when there is none.
    pub last: Position,
    /// Term of the entry at the applied index of the state, where the log has one or ends there.
    pub term_at_applied: Option<u64>,
}

/// How the two fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The log goes on from the state.
    Whole,
    /// An install was cut between the two stores: the data is there, the log begins anew behind it. Entries behind it
    /// that conflict with it were never committed.
    LogAnew {
        /// The position of the state.
        at: Position,
        /// To be written with it.
        hard_state: HardState,
    },
    /// The log has votes and acknowledged entries that must be kept; the data behind it must come anew.
    DataLost,
}

/// Judges the state and the log of one replica.
pub fn fit(state: Option<&ShardState>, log: &LogFound) -> Fit {
    let Some(state) = state else {
        return if log.last.index > 0 { Fit::DataLost } else { Fit::Whole };
    };
    let at = Position { index: state.applied_index, term: state.applied_term };
    if at.index < log.truncated.index {
        return Fit::DataLost;
    }
    // The state came from a snapshot that the log does not know: the log ends before it, or has an entry of another term
    // there, which the snapshot was to replace.
    if log.term_at_applied == Some(at.term) {
        return Fit::Whole;
    }
    let mut hard_state = log.hard_state;
    if hard_state.term < at.term {
        hard_state.term = at.term;
        hard_state.vote = 0;
    }
    hard_state.commit = at.index;
    Fit::LogAnew { at, hard_state }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(index: u64, term: u64) -> ShardState {
        ShardState { applied_index: index, applied_term: term, ..ShardState::default() }
    }

    fn log(truncated: u64, last: u64, term: u64, term_at_applied: Option<u64>) -> LogFound {
        let position = |index| Position { index, term };
        let hard_state = HardState { term, vote: 7, commit: truncated };
        LogFound { hard_state, truncated: position(truncated), last: position(last), term_at_applied }
    }

    #[test]
    fn a_log_that_knows_the_applied_entry_goes_on_from_it() {
        assert_eq!(fit(Some(&state(8, 6)), &log(5, 20, 6, Some(6))), Fit::Whole);
        assert_eq!(fit(None, &LogFound::default()), Fit::Whole, "it waits for its first snapshot");
    }

    #[test]
    fn a_log_that_does_not_know_the_applied_entry_begins_anew_and_keeps_a_vote_of_its_term() {
        let at = Position { index: 30, term: 6 };
        let hard_state = HardState { term: 6, vote: 7, commit: 30 };
        assert_eq!(fit(Some(&state(30, 6)), &log(5, 20, 6, None)), Fit::LogAnew { at, hard_state });
        let at = Position { index: 15, term: 9 };
        let hard_state = HardState { term: 9, vote: 0, commit: 15 };
        assert_eq!(fit(Some(&state(15, 9)), &log(5, 20, 6, Some(6))), Fit::LogAnew { at, hard_state });
    }

    #[test]
    fn a_state_older_than_the_log_is_lost() {
        assert_eq!(fit(Some(&state(4, 6)), &log(5, 20, 6, None)), Fit::DataLost);
        assert_eq!(fit(None, &log(5, 20, 6, None)), Fit::DataLost);
    }
}
