//! Checks a history: key by key, first by the quick rules of its kind, then by search.

use crate::{
    explain,
    fast::{appends, counts, zones},
    history::{History, InvalidHistory, KeyHistory},
    model::{counter::Counter, list::List, register::Register},
    operation::Kind,
    search::{Found, Look, search},
    verdict::{Report, Violation},
};

/// How much work a check may be. It bounds memory as well: a step keeps at most one set of placed operations, of about
/// 100 bytes, and most keep none.
///
/// What a key takes grows with its operations, and fast with those that are open at once or unknown. The default is
/// enough for 10,000 operations of 16 clients on one key that tells its revisions, when 5 % of the writes are unknown.
/// Spread over more keys, or with fewer unknown, it takes a few steps an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How often the model may be asked for each key. What was not decided then is a verdict of its own.
    pub steps_per_key: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps_per_key: 5_000_000 }
    }
}

/// What is known of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Linearizable,
    /// With what is known of why.
    Violated(Violation),
    Undecided,
}

/// Checks that every key of `history` is linearizable.
///
/// # Errors
/// When the operations are no history ([`History::validate`]).
pub fn check(history: &History, budget: Budget) -> Result<Report, InvalidHistory> {
    history.validate()?;
    let operations = &history.operations;
    let count = |what: &dyn Fn(&crate::Operation) -> bool| operations.iter().filter(|one| what(one)).count() as u64;
    let mut report = Report {
        operations: operations.len() as u64,
        acknowledged: count(&|operation| operation.is_acknowledged_write()),
        reads: count(&|operation| operation.is_ok() && operation.action.is_read()),
        unknown: count(&|operation| operation.is_unknown() && !operation.action.is_read()),
        ..Report::default()
    };
    for key in history.by_key() {
        report.keys += 1;
        let mut steps = budget.steps_per_key;
        let decision = decide(&key, &mut steps);
        report.steps += budget.steps_per_key - steps;
        match decision {
            Decision::Linearizable => {}
            Decision::Undecided => report.undecided.push(key.key.to_owned()),
            Decision::Violated(violation) => {
                report.violated += 1;
                if report.violations.len() < Report::EXPLAINED {
                    report.violations.push(explain::explain(&key, violation));
                }
            }
        }
    }
    Ok(report)
}

/// Decides about one key; takes the steps it used off `steps`.
pub(crate) fn decide(key: &KeyHistory<'_>, steps: &mut u64) -> Decision {
    let quick = match key.kind {
        Kind::Register => zones::decide(key),
        Kind::List => appends::decide(key),
        Kind::Counter => counts::decide(key),
    };
    quick.unwrap_or_else(|| by_search(key, Look::Ahead, steps))
}

/// Decides about one key by the general search alone.
pub(crate) fn by_search(key: &KeyHistory<'_>, look: Look, steps: &mut u64) -> Decision {
    let operations = &key.operations;
    let found = match key.kind {
        Kind::Register => search(&Register::of(operations), operations, look, steps),
        Kind::List => search(&List::of(operations), operations, look, steps),
        Kind::Counter => search(&Counter, operations, look, steps),
    };
    match found {
        Found::Order => Decision::Linearizable,
        Found::OutOfSteps => Decision::Undecided,
        Found::None(farthest) => Decision::Violated(explain::by_farthest(key, farthest)),
    }
}
