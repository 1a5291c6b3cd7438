//! How long checks take. Built without optimization they are small, and only finish.

use std::time::Instant;

use granary_history::{Answer, Budget, Held, History, Outcome, Verdict, check};

use crate::world::{Kind, Shape, make};

/// Seconds that any of these may take: far above what was measured, since machines are busy.
const LIMIT: u64 = 30;

fn scaled(operations: u64) -> u64 {
    if cfg!(debug_assertions) { operations / 20 } else { operations }
}

fn timed(what: &str, history: &History) -> Verdict {
    let start = Instant::now();
    let report = check(history, Budget::default()).unwrap();
    let took = start.elapsed();
    println!("{what}: {took:.3?} for {} operations on {} keys, {} steps", report.operations, report.keys, report.steps);
    for violation in report.violations.iter().take(1) {
        println!("{violation}");
    }
    assert!(took.as_secs() < LIMIT, "{what}: {took:?}");
    report.verdict()
}

#[test]
fn a_hundred_thousand_operations_take_seconds() {
    let shape = Shape {
        seed: 1,
        operations: scaled(100_000),
        keys: 1000,
        clients: 16,
        unknown: 10,
        revisions: true,
        kinds: &[Kind::Register, Kind::Register, Kind::List, Kind::Counter],
    };
    let all = "all kinds, 1000 keys";
    assert_eq!(timed(all, &make(shape)), Verdict::Linearizable);
    let registers = Shape { kinds: &[Kind::Register], ..shape };
    assert_eq!(timed("registers with revisions", &make(registers)), Verdict::Linearizable);
    let untold = Shape { revisions: false, ..registers };
    assert_eq!(timed("registers without revisions", &make(untold)), Verdict::Linearizable);
    let plain = Shape { revisions: false, kinds: &[Kind::Plain], ..shape };
    assert_eq!(timed("puts and reads, no revisions", &make(plain)), Verdict::Linearizable);
}

#[test]
fn a_hot_key_with_many_unknown_writes_takes_seconds() {
    for unknown in [20, 50] {
        for kinds in [&[Kind::Register], &[Kind::List], &[Kind::Counter]] {
            let what = format!("one hot key, {kinds:?}, {unknown} of 1000 writes unknown");
            assert_eq!(timed(&what, &make(Shape { kinds, unknown, ..hot(2) })), Verdict::Linearizable);
        }
    }
}

/// Without revisions a key must not be as hot: the search is exponential in the operations at once.
#[test]
fn a_warm_key_without_revisions_takes_seconds() {
    let shape = Shape { operations: 500, clients: 6, revisions: false, kinds: &[Kind::Register], ..hot(4) };
    assert_eq!(timed("one key, registers without revisions, 6 clients", &make(shape)), Verdict::Linearizable);
}

#[test]
fn an_old_answer_on_a_hot_key_is_found_and_explained_in_seconds() {
    for kinds in [&[Kind::Register], &[Kind::List], &[Kind::Counter]] {
        let mut history = make(Shape { kinds, ..hot(3) });
        let (from, to) = (read_from(&history, history.operations.len() / 4), read_from(&history, middle(&history)));
        history.operations[to].outcome = history.operations[from].outcome.clone();
        assert_eq!(timed(&format!("an old answer, {kinds:?}"), &history), Verdict::Violated);
    }
}

/// Only the search can tell: values and times are right.
#[test]
fn a_wrong_revision_on_a_hot_key_is_found_and_explained_in_seconds() {
    let mut history = make(Shape { kinds: &[Kind::Register], ..hot(1) });
    let wrong = read_from(&history, middle(&history));
    if let Outcome::Ok(Answer::Held(Some(Held { revision: Some(revision), .. }))) =
        &mut history.operations[wrong].outcome
    {
        *revision += 1;
    }
    assert_eq!(timed("a wrong revision", &history), Verdict::Violated);
}

fn hot(seed: u64) -> Shape {
    Shape { seed, operations: scaled(10_000), keys: 1, clients: 16, unknown: 10, revisions: true, kinds: &[] }
}

fn middle(history: &History) -> usize {
    history.operations.len() / 2
}

/// The first read behind `index` that found something.
fn read_from(history: &History, index: usize) -> usize {
    let found = |index: &usize| {
        let answer = history.operations[*index].answer();
        matches!(answer, Some(Answer::Held(Some(Held { .. })) | Answer::List(_) | Answer::Count(_)))
    };
    (index..).find(found).unwrap()
}
