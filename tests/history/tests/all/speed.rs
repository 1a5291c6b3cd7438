//! How long checks take. Built without optimization they are small, and only finish.

use std::time::Instant;

use granary_history::{Answer, Budget, Held, History, Outcome, Verdict, check};

use crate::world::{Kind, Random, Shape, make};

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
    let shape = Shape {
        seed: 2,
        operations: scaled(10_000),
        keys: 1,
        clients: 16,
        unknown: 20,
        revisions: true,
        kinds: &[Kind::Register],
    };
    for kind in [&[Kind::Register], &[Kind::List], &[Kind::Counter]] {
        assert_eq!(
            timed(&format!("one hot key, {kind:?}"), &make(Shape { kinds: kind, ..shape })),
            Verdict::Linearizable
        );
    }
    let untold = Shape { revisions: false, ..shape };
    assert_eq!(timed("one hot key, Register without revisions", &make(untold)), Verdict::Linearizable);
}

#[test]
fn a_violation_on_a_hot_key_is_found_and_explained_in_seconds() {
    for kind in [Kind::Register, Kind::List, Kind::Counter] {
        for revisions in [true, false] {
            let kinds: &[Kind] = match kind {
                Kind::List => &[Kind::List],
                Kind::Counter => &[Kind::Counter],
                _ => &[Kind::Register],
            };
            let shape =
                Shape { seed: 3, operations: scaled(10_000), keys: 1, clients: 16, unknown: 10, revisions, kinds: &[] };
            let mut history = make(Shape { kinds: Box::leak(kinds.to_vec().into_boxed_slice()), ..shape });
            go_back(&mut history);
            assert_eq!(timed(&format!("violated {kind:?}, revisions {revisions}"), &history), Verdict::Violated);
        }
    }
}

/// Gives a read in the middle the answer of one long before.
fn go_back(history: &mut History) {
    let mut random = Random::new(5);
    let middle = history.operations.len() / 2;
    let is_read = |index: &usize| {
        let answer = history.operations[*index].answer();
        matches!(answer, Some(Answer::Held(Some(Held { .. })) | Answer::List(_) | Answer::Count(_)))
    };
    let from = (middle / 2 + random.below(9) as usize..).find(is_read).unwrap();
    let to = (middle..).find(is_read).unwrap();
    let old = history.operations[from].answer().unwrap().clone();
    history.operations[to].outcome = Outcome::Ok(old);
}
