//! Counters: what a read can be at least and at most.
//!
//! At least: everything acknowledged before it began, and what was read before it began. At most: everything begun
//! before it ended, acknowledged or not. That refuses a lost add and one that counts twice (a retry that was applied
//! again) at once and in plain words; the search decides the rest.

use crate::{
    check::Decision,
    history::KeyHistory,
    operation::{Action, Answer, Operation},
    verdict::Violation,
};

/// `None` when a search is needed.
pub(crate) fn decide(key: &KeyHistory<'_>) -> Option<Decision> {
    let seen = |operation: &&Operation| Some((count(operation)?, amount(operation)));
    let mut by_return: Vec<&Operation> = key.operations.iter().copied().filter(|one| one.is_ok()).collect();
    by_return.sort_by_key(|operation| operation.returned);
    let mut ended = by_return.into_iter().peekable();
    let (mut acknowledged, mut highest) = (0u128, None::<(u64, &Operation)>);
    // Operations are in order of call.
    for operation in &key.operations {
        while let Some(before) = ended.next_if(|before| before.returned < operation.called) {
            acknowledged += u128::from(amount(before));
            if let Some(count) = count(before).filter(|count| highest.is_none_or(|(highest, _)| *count > highest)) {
                highest = Some((count, before));
            }
        }
        let Some((count, own)) = seen(operation) else { continue };
        if u128::from(count) < acknowledged + u128::from(own) {
            return refuse(key, format!("at least {acknowledged} were added before, and acknowledged"), &[operation]);
        }
        if let Some((_, before)) = highest.filter(|(highest, _)| *highest > count) {
            return refuse(key, "a sum that was read later is smaller".to_owned(), &[before, operation]);
        }
    }
    at_most(key)
}

/// Refuses a sum above all that was begun by then.
fn at_most(key: &KeyHistory<'_>) -> Option<Decision> {
    let mut readers: Vec<(&Operation, u64)> =
        key.operations.iter().filter_map(|operation| Some((*operation, count(operation)?))).collect();
    readers.sort_by_key(|(operation, _)| operation.returned);
    let mut begun = key.operations.iter().peekable();
    let mut sum = 0u128;
    for (reader, count) in readers {
        while let Some(operation) = begun.next_if(|operation| operation.called <= reader.returned) {
            sum += u128::from(amount(operation));
        }
        if u128::from(count) > sum {
            let reason = format!("at most {sum} were added before, with all that may have been");
            return refuse(key, reason, &[reader]);
        }
    }
    None
}

fn refuse(key: &KeyHistory<'_>, reason: String, operations: &[&Operation]) -> Option<Decision> {
    Some(Decision::Violated(Violation::between(key.key, reason, operations)))
}

/// What the operation adds, when it does.
fn amount(operation: &Operation) -> u64 {
    match operation.action {
        Action::Add { amount } => amount,
        _ => 0,
    }
}

/// The sum that the operation saw.
fn count(operation: &Operation) -> Option<u64> {
    match operation.answer()? {
        Answer::Count(count) => Some(*count),
        _ => None,
    }
}
