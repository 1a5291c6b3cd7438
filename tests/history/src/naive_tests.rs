//! The checker against one so simple that it is surely right: try every order, with every revision that was not told.

use std::cell::Cell;

use proptest::{prelude::*, test_runner::TestRunner};

use crate::{
    Action, Answer, Change, Expected, Held, Kind, Operation, Outcome,
    check::{Decision, by_search, decide},
    fixture::{any_run, any_specs, history, play},
    search::Look,
};

/// The highest revision that is tried: the highest that is told is 8, and 6 operations follow at most.
const HIGHEST: u64 = 14;

#[derive(Clone, Default)]
struct Real {
    value: Option<u64>,
    revision: u64,
    list: Vec<u64>,
    sum: u64,
}

/// Whether some order of some of the operations explains all answers.
fn naive(state: &Real, left: &[&Operation], kind: Kind) -> bool {
    if !left.iter().any(|operation| operation.is_ok()) {
        return true;
    }
    (0..left.len()).any(|index| {
        let mut rest = left.to_vec();
        let next = rest.remove(index);
        let too_late = rest.iter().any(|other| other.is_ok() && other.returned < next.called);
        !too_late && after(state, next, kind).iter().any(|state| naive(state, &rest, kind))
    })
}

/// All states that can follow.
fn after(state: &Real, operation: &Operation, kind: Kind) -> Vec<Real> {
    match kind {
        Kind::Register => after_register(state, operation),
        Kind::List => {
            let mut next = state.clone();
            if let Action::Append { element } = operation.action {
                next.list.push(element);
            }
            let wrong = matches!(operation.answer(), Some(Answer::List(list)) if *list != next.list);
            if wrong { vec![] } else { vec![next] }
        }
        Kind::Counter => {
            let mut next = state.clone();
            if let Action::Add { amount } = operation.action {
                next.sum += amount;
            }
            let wrong = matches!(operation.answer(), Some(Answer::Count(count)) if *count != next.sum);
            if wrong { vec![] } else { vec![next] }
        }
    }
}

fn after_register(state: &Real, operation: &Operation) -> Vec<Real> {
    let is = |held: &Option<Held>| match held {
        None => state.value.is_none(),
        Some(held) => state.value == Some(held.value) && held.revision.is_none_or(|told| told == state.revision),
    };
    let meets = |expected| match expected {
        Expected::Absent => state.value.is_none(),
        Expected::Present => state.value.is_some(),
        Expected::Value(value) => state.value == Some(value),
        Expected::Revision(revision) => state.value.is_some() && state.revision == revision,
    };
    let change = |value: Option<u64>, told: Option<u64>| -> Vec<Real> {
        let revisions = state.revision + 1..=HIGHEST;
        revisions
            .filter(|revision| told.is_none_or(|told| told == *revision))
            .map(|revision| Real { value, revision, ..Real::default() })
            .collect()
    };
    let told = operation.revision_written();
    match (operation.action, &operation.outcome) {
        (Action::Read, Outcome::Ok(Answer::Held(held))) if is(held) => vec![state.clone()],
        (Action::Put { value }, _) => change(Some(value), told),
        (Action::Delete, Outcome::Ok(Answer::Deleted { existed: Some(existed), .. }))
            if *existed != state.value.is_some() =>
        {
            vec![]
        }
        (Action::Delete, _) => change(None, told),
        (Action::CompareAndSet { expected, .. }, Outcome::Ok(Answer::NotSwapped(held)))
            if is(held) && !meets(expected) =>
        {
            vec![state.clone()]
        }
        (Action::CompareAndSet { expected, change: to }, Outcome::Ok(Answer::Written(_)) | Outcome::Unknown)
            if meets(expected) =>
        {
            match to {
                Change::Put(value) => change(Some(value), told),
                Change::Delete => change(None, told),
            }
        }
        _ => vec![],
    }
}

fn verdict(decision: &Decision) -> Option<bool> {
    match decision {
        Decision::Linearizable => Some(true),
        Decision::Violated(_) => Some(false),
        Decision::Undecided => None,
    }
}

/// Runs, at least; of each verdict a tenth.
const CASES: u32 = 6000;

#[test]
fn rules_and_search_say_what_trying_every_order_says() {
    let (good, bad) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(ProptestConfig {
        cases: CASES.max(ProptestConfig::default().cases),
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&(any_run(), any_specs(6, true)), |(run, specs)| {
        let history = history(play(run, &specs));
        for key in history.by_key() {
            let expected = naive(&Real::default(), &key.operations, key.kind);
            let count = if expected { &good } else { &bad };
            count.set(count.get() + 1);
            for look in [Look::Ahead, Look::Near] {
                let searched = by_search(&key, look, &mut 1_000_000);
                prop_assert_eq!(verdict(&searched), Some(expected), "search: {:?}", searched);
            }
            let decided = decide(&key, &mut 1_000_000);
            prop_assert_eq!(verdict(&decided), Some(expected), "rules: {:?}", decided);
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    assert!(good.get() > CASES / 10 && bad.get() > CASES / 10, "{} good, {} bad", good.get(), bad.get());
}
