//! Lists whose elements are all different: the reads tell the order.
//!
//! The idea is that of Elle's list-append (Kingsbury and Alvaro, 2020): every read is a prefix of the longest one, so the
//! order of the appends in it is known. Then it only has to be seen whether times allow that order, with each read
//! behind the last append that it saw, and the appends that nobody saw at the end. This decides exactly.

use std::collections::{HashMap, HashSet};

use crate::{
    check::Decision,
    history::KeyHistory,
    operation::{Action, Answer, Operation},
    verdict::Violation,
};

/// `None` when elements repeat, and a search is needed.
pub(crate) fn decide(key: &KeyHistory<'_>) -> Option<Decision> {
    let mut appends: HashMap<u64, &Operation> = HashMap::new();
    for operation in &key.operations {
        if let Action::Append { element } = operation.action
            && appends.insert(element, operation).is_some()
        {
            return None;
        }
    }
    Some(match contradiction(key, &appends) {
        Some(violation) => Decision::Violated(violation),
        None => Decision::Linearizable,
    })
}

fn contradiction(key: &KeyHistory<'_>, appends: &HashMap<u64, &Operation>) -> Option<Violation> {
    let wrong = |reason: String, operations: &[&Operation]| Some(Violation::between(key.key, reason, operations));
    let mut readers: Vec<(&[u64], &Operation)> =
        key.operations.iter().filter_map(|operation| Some((list(operation)?, *operation))).collect();
    readers.sort_by_key(|(list, _)| list.len());
    for pair in readers.windows(2) {
        let [(shorter, one), (longer, other)] = pair else { continue };
        if !longer.starts_with(shorter) {
            return wrong("neither of two lists is the beginning of the other".to_owned(), &[one, other]);
        }
    }
    let order = readers.last().map_or(&[][..], |(list, _)| list);
    let first_reader = |index| readers.iter().find(|(list, _)| list.len() > index).map(|(_, reader)| *reader);
    let mut placed: HashSet<u64> = HashSet::new();
    for (index, element) in order.iter().enumerate() {
        let Some(append) = appends.get(element) else {
            let failed = key.failed.iter().copied().find(|one| one.action == Action::Append { element: *element });
            let who = if failed.is_some() { "only what surely failed" } else { "nobody" };
            let those: Vec<&Operation> = failed.into_iter().chain(first_reader(index)).collect();
            return wrong(format!("{element} is in the list, and {who} appended it"), &those);
        };
        if !placed.insert(*element) {
            let those: Vec<&Operation> = [*append].into_iter().chain(first_reader(index)).collect();
            return wrong(format!("{element} is in the list twice, and was appended once"), &those);
        }
    }
    for (list, operation) in &readers {
        if let Action::Append { element } = operation.action
            && list.last() != Some(&element)
        {
            return wrong(
                "an append was answered with a list that does not end in its element".to_owned(),
                &[operation],
            );
        }
    }
    let line = line_up(key, order, &placed, appends, &readers);
    line_is_late(&line).map(|(late, before)| Violation::between(key.key, reason(late, before), &[late, before]))
}

/// All operations in groups: everything of a group comes behind everything of the groups before it.
fn line_up<'a>(
    key: &KeyHistory<'a>,
    order: &[u64],
    placed: &HashSet<u64>,
    appends: &HashMap<u64, &'a Operation>,
    readers: &[(&[u64], &'a Operation)],
) -> Vec<Vec<&'a Operation>> {
    let mut line = Vec::new();
    let mut waiting = readers.iter().peekable();
    for length in 0..=order.len() {
        line.push(length.checked_sub(1).and_then(|last| appends.get(order.get(last)?)).copied().into_iter().collect());
        let mut here = Vec::new();
        while let Some((_, reader)) = waiting.next_if(|(list, _)| list.len() == length) {
            here.push(*reader);
        }
        line.push(here);
    }
    let unseen = |one: &&Operation| matches!(one.action, Action::Append { element } if !placed.contains(&element));
    line.push(key.operations.iter().copied().filter(unseen).collect());
    line
}

/// Places everything as early as times allow. The first that would come after its return, and what it must come behind.
fn line_is_late<'a>(line: &[Vec<&'a Operation>]) -> Option<(&'a Operation, &'a Operation)> {
    // What was called last of all groups before.
    let mut last: Option<&Operation> = None;
    for group in line {
        for operation in group {
            if let Some(last) = last.filter(|last| last.called > operation.open_until()) {
                return Some((operation, last));
            }
        }
        last = group.iter().copied().chain(last).max_by_key(|operation| operation.called);
    }
    None
}

/// Why `late`, which returned before `before` was called, cannot come behind it.
fn reason(late: &Operation, before: &Operation) -> String {
    match (late.action, before.action) {
        (Action::Append { element }, Action::Append { .. }) => {
            format!("{element} was appended before another append began, and comes behind it")
        }
        (Action::Append { element }, _) => format!("{element} was appended before a list was read that lacks it"),
        (_, Action::Append { element }) => format!("{element} is in a list that was read before its append began"),
        _ => "a list that was read later is shorter".to_owned(),
    }
}

/// The list that an operation saw.
fn list(operation: &Operation) -> Option<&[u64]> {
    match operation.answer()? {
        Answer::List(list) => Some(list),
        _ => None,
    }
}
