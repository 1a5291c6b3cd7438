//! Histories made from a sequential run are accepted, however its operations overlap; with one answer that cannot be
//! right they are refused.

use proptest::prelude::*;

use crate::{
    Action, Answer, Budget, Held, Operation, Outcome, Verdict, check,
    check::{Decision, by_search},
    fixture::{any_run, any_specs, history, op, play},
    search::Look,
};

/// Answers of which each makes a linearizable history wrong: where, and what.
fn surely_wrong(operations: &[Operation]) -> Vec<(usize, Answer)> {
    let mut wrong = Vec::new();
    for (index, reader) in operations.iter().enumerate() {
        match reader.answer() {
            Some(Answer::Held(_)) => {
                wrong.push((index, seen(999)));
                wrong.extend(stale(operations, reader).map(|value| (index, seen(value))));
            }
            Some(Answer::List(list)) => {
                wrong.push((index, Answer::List([&list[..], &[999]].concat())));
                wrong.push((index, Answer::List([&list[..], &list[..1.min(list.len())], &[998]].concat())));
                wrong.extend(lacking(operations, reader, list).map(|list| (index, Answer::List(list))));
            }
            Some(Answer::Count(_)) => {
                wrong.push((index, Answer::Count(all_added(operations, |_| true) + 1)));
                let before = all_added(operations, |one| one.is_ok() && one.returned < reader.called);
                wrong.extend(before.checked_sub(1).map(|sum| (index, Answer::Count(sum))));
            }
            Some(Answer::Written(Some(revision))) => {
                let same = |one: &&Operation| *one != reader && one.revision_written().is_some();
                let other = operations.iter().filter(same).find_map(Operation::revision_written);
                wrong
                    .extend(other.filter(|other| other != revision).map(|other| (index, Answer::Written(Some(other)))));
            }
            _ => {}
        }
    }
    wrong
}

fn seen(value: u64) -> Answer {
    Answer::Held(Some(Held { value, revision: None }))
}

/// Values written once, and surely overwritten when `reader` began.
fn stale<'a>(operations: &'a [Operation], reader: &'a Operation) -> impl Iterator<Item = u64> + 'a {
    let overwritten = |old: &&Operation| {
        let over = |new: &Operation| {
            new.is_ok()
                && matches!(new.action, Action::Put { .. })
                && new.action != old.action
                && old.returned < new.called
                && new.returned < reader.called
        };
        let once = |value| operations.iter().filter(|one| one.action.value_written() == value).count() == 1;
        old.is_ok() && once(old.action.value_written()) && operations.iter().any(over)
    };
    operations.iter().filter(overwritten).filter_map(|old| old.action.value_written())
}

/// The list without one element, appended once, that surely was there.
fn lacking<'a>(
    operations: &'a [Operation],
    reader: &'a Operation,
    list: &'a [u64],
) -> impl Iterator<Item = Vec<u64>> + 'a {
    let there = |one: &&Operation| one.is_ok() && one.returned < reader.called;
    let elements = operations.iter().filter(there).filter_map(|one| match one.action {
        Action::Append { element } => Some(element),
        _ => None,
    });
    let once =
        |element: &u64| operations.iter().filter(|one| one.action == Action::Append { element: *element }).count() == 1;
    elements.filter(once).map(|element| list.iter().copied().filter(|other| *other != element).collect())
}

fn all_added(operations: &[Operation], which: impl Fn(&Operation) -> bool) -> u64 {
    let amount = |one: &Operation| match one.action {
        Action::Add { amount } => amount,
        _ => 0,
    };
    operations.iter().filter(|one| which(one)).map(amount).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_sequential_run_with_any_overlap_is_accepted(run in any_run(), specs in any_specs(60, false)) {
        let history = history(play(run, &specs));
        let report = check(&history, Budget::default()).unwrap();
        prop_assert_eq!(report.verdict(), Verdict::Linearizable, "{}", report);
        for key in history.by_key() {
            prop_assert_eq!(by_search(&key, Look::Ahead, &mut 2_000_000), Decision::Linearizable);
        }
    }

    #[test]
    fn one_answer_that_cannot_be_right_is_found(run in any_run(), specs in any_specs(24, false)) {
        let mut operations = play(run, &specs);
        let end = operations.iter().map(|one| one.returned).max().unwrap_or(0) + 1;
        if let Some(first) = operations.first() {
            let (action, answer) = match first.action.kind() {
                crate::Kind::Register => (Action::Read, seen(999)),
                crate::Kind::List => (Action::ReadList, Answer::List(vec![999])),
                crate::Kind::Counter => (Action::ReadCounter, Answer::Count(999)),
            };
            operations.push(op(9, end, end + 1, action, Outcome::Ok(answer)));
            let wrong = surely_wrong(&operations);
            prop_assert!(!wrong.is_empty());
            for (index, answer) in wrong {
                let mut mutated = operations.clone();
                if index + 1 < mutated.len() {
                    mutated.pop();
                }
                mutated[index].outcome = Outcome::Ok(answer);
                let history = history(mutated);
                let report = check(&history, Budget::default()).unwrap();
                prop_assert_eq!(report.verdict(), Verdict::Violated, "{:?}", history.operations);
                for key in history.by_key() {
                    prop_assert!(matches!(by_search(&key, Look::Ahead, &mut 2_000_000), Decision::Violated(_)));
                }
            }
        }
    }
}
