//! Makes a violation small: only what happened up to the first answer that cannot be right, and how far an order goes.
//!
//! Linearizability is closed under prefixes: when a history is cut at some time, with operations that are open then
//! unknown, it stays linearizable. So the first wrong answer is found by halving.

use crate::{
    check::{Decision, by_search, decide},
    history::KeyHistory,
    operation::{Operation, Outcome},
    search::{Farthest, Look},
    verdict::Violation,
};

/// Steps for each part that is looked at. What takes more is explained less well.
const STEPS: u64 = 100_000;

/// The violation of the shortest part of `key` that was found to be one.
pub(crate) fn explain(key: &KeyHistory<'_>, whole: Violation) -> Violation {
    let mut ends: Vec<u64> = key.operations.iter().filter(|one| one.is_ok()).map(|one| one.returned).collect();
    ends.sort_unstable();
    ends.dedup();
    let (mut violation, mut first_wrong) = (whole, ends.len().saturating_sub(1));
    // Everything before `low` was tried and is not known to be wrong; `first_wrong` is.
    let mut low = 0;
    while low < first_wrong {
        let middle = usize::midpoint(low, first_wrong);
        match decide(&cut(key, ends[middle]).borrow(key), &mut { STEPS }) {
            Decision::Violated(smaller) => (violation, first_wrong) = (smaller, middle),
            Decision::Linearizable | Decision::Undecided => low = middle + 1,
        }
    }
    if let Some(end) = ends.get(first_wrong) {
        let cut = cut(key, *end);
        for look in [Look::Near, Look::Ahead] {
            if let Decision::Violated(searched) = by_search(&cut.borrow(key), look, &mut { STEPS }) {
                return with_order(violation, searched);
            }
        }
    }
    violation
}

/// The words of a quick rule, if one found it, with the order that a search found.
fn with_order(violation: Violation, searched: Violation) -> Violation {
    if violation.state.is_empty() {
        Violation { placed: searched.placed, state: searched.state, ..violation }
    } else {
        searched
    }
}

/// The violation that a search found.
pub(crate) fn by_farthest(key: &KeyHistory<'_>, farthest: Farthest) -> Violation {
    let those = |indexes: &[u32]| -> Vec<Operation> {
        indexes.iter().map(|index| key.operations[*index as usize].clone()).collect()
    };
    Violation {
        key: key.key.to_owned(),
        reason: "no order explains all answers; next would have to come one of".to_owned(),
        placed: those(&farthest.placed),
        stuck: those(&farthest.stuck),
        state: farthest.state,
    }
}

/// The operations of a key as they were at some time.
struct Cut {
    operations: Vec<Operation>,
}

/// What was called by `end`, with the answers that were there by then.
fn cut(key: &KeyHistory<'_>, end: u64) -> Cut {
    let called = key.operations.iter().filter(|operation| operation.called <= end);
    let operations = called.filter_map(|operation| {
        let mut operation = (*operation).clone();
        if operation.returned > end && operation.is_ok() {
            if !operation.is_acknowledged_write() {
                return None;
            }
            operation.outcome = Outcome::Unknown;
        }
        Some(operation)
    });
    Cut { operations: operations.collect() }
}

impl Cut {
    fn borrow<'a>(&'a self, key: &KeyHistory<'a>) -> KeyHistory<'a> {
        let mut operations: Vec<&Operation> = self.operations.iter().collect();
        operations.sort_by_key(|operation| (operation.called, operation.open_until()));
        KeyHistory { operations, ..key.clone() }
    }
}
