//! Histories that look wrong and are right.

use crate::{
    Action, Budget, Expected, Held, Operation, Outcome, Verdict, check,
    check::{Decision, by_search},
    fixture::*,
    operation::Answer,
    search::Look,
};

#[track_caller]
fn accepted(operations: Vec<Operation>) {
    let history = history(operations);
    let report = check(&history, Budget::default()).unwrap();
    assert_eq!(report.verdict(), Verdict::Linearizable, "{report}");
    for key in history.by_key() {
        assert_eq!(by_search(&key, Look::Ahead, &mut 100_000), Decision::Linearizable, "the search alone");
    }
}

#[test]
fn an_unknown_write_that_takes_effect_long_after() {
    accepted(vec![
        op(1, 0, 10, put(1), done()),
        op(2, 15, 20, put(2), Outcome::Unknown),
        op(3, 30, 40, Action::Read, saw(1)),
        op(1, 50, 60, put(3), done()),
        op(3, 70, 80, Action::Read, saw(3)),
        op(3, 90, 100, Action::Read, saw(2)),
    ]);
}

#[test]
fn an_unknown_write_that_never_takes_effect() {
    accepted(vec![
        op(1, 0, 10, put(1), done()),
        op(2, 15, 20, put(2), Outcome::Unknown),
        op(2, 15, 20, Action::Delete, Outcome::Unknown),
        op(3, 30, 40, Action::Read, saw(1)),
    ]);
}

#[test]
fn unknown_writes_that_build_on_each_other() {
    accepted(vec![
        op(1, 0, 5, cas(Expected::Value(2), 3), Outcome::Unknown),
        op(1, 0, 5, cas(Expected::Value(1), 2), Outcome::Unknown),
        op(1, 0, 5, cas(Expected::Absent, 1), Outcome::Unknown),
        op(3, 30, 40, Action::Read, saw(3)),
    ]);
}

#[test]
fn an_unknown_delete_in_between() {
    accepted(vec![
        op(1, 0, 10, put(1), done_at(1)),
        op(2, 15, 20, Action::Delete, Outcome::Unknown),
        op(3, 30, 40, Action::Read, saw_at(1, 1)),
        op(3, 50, 60, Action::Read, saw_nothing()),
        op(3, 70, 80, cas(Expected::Absent, 1), done_at(3)),
        op(3, 90, 99, Action::Read, saw_at(1, 3)),
    ]);
}

#[test]
fn an_unknown_write_whose_revision_only_a_condition_tells() {
    accepted(vec![
        op(1, 0, 10, put(1), done_at(1)),
        op(2, 15, 20, put(2), Outcome::Unknown),
        op(3, 30, 40, cas(Expected::Revision(5), 3), done_at(6)),
        op(3, 50, 60, Action::Read, saw_at(3, 6)),
    ]);
}

#[test]
fn one_of_two_concurrent_swaps_wins() {
    accepted(vec![
        op(1, 0, 10, put(1), done_at(1)),
        op(1, 20, 40, cas(Expected::Revision(1), 2), Outcome::Ok(Answer::NotSwapped(Some(held(3, 2))))),
        op(2, 20, 40, cas(Expected::Revision(1), 3), done_at(2)),
        op(3, 30, 35, Action::Read, saw_at(1, 1)),
    ]);
}

fn held(value: u64, revision: u64) -> Held {
    Held { value, revision: Some(revision) }
}

#[test]
fn a_read_of_a_write_that_is_still_open() {
    accepted(vec![
        op(1, 0, 100, put(1), done()),
        op(2, 10, 20, Action::Read, saw_nothing()),
        op(2, 30, 40, Action::Read, saw(1)),
    ]);
}

#[test]
fn a_write_of_what_is_there_already_that_is_needed_later() {
    accepted(vec![
        op(1, 0, 5, put(5), done()),
        op(2, 10, 100, put(5), done()),
        op(3, 10, 20, put(7), done()),
        op(4, 30, 40, Action::Read, saw(5)),
    ]);
}

#[test]
fn who_returns_when_another_is_called_is_concurrent_with_it() {
    accepted(vec![op(1, 0, 10, put(1), done()), op(2, 10, 10, Action::Read, saw_nothing())]);
}

#[test]
fn values_and_sums_that_change_at_one_moment() {
    accepted(vec![
        op(1, 0, 5, put(1), done()),
        op(2, 8, 10, put(2), done()),
        op(3, 10, 12, Action::Read, saw(1)),
        op(3, 20, 25, Action::Read, saw(2)),
    ]);
    accepted(vec![op(1, 0, 10, add(1), done()), op(2, 10, 20, Action::ReadCounter, count(0))]);
}

#[test]
fn an_unknown_append_between_two_reads() {
    accepted(vec![
        op(1, 0, 10, append(1), done()),
        op(1, 20, 30, append(2), Outcome::Unknown),
        op(1, 40, 50, append(3), done()),
        op(2, 60, 70, Action::ReadList, list(&[1, 3])),
        op(2, 80, 90, Action::ReadList, list(&[1, 3, 2])),
    ]);
}

#[test]
fn elements_that_repeat() {
    accepted(vec![
        op(1, 0, 10, append(1), done()),
        op(1, 20, 30, append(1), Outcome::Unknown),
        op(2, 60, 70, Action::ReadList, list(&[1])),
        op(2, 80, 90, Action::ReadList, list(&[1, 1])),
    ]);
}

#[test]
fn an_unknown_add_that_counts_late() {
    accepted(vec![
        op(1, 0, 10, add(1), done()),
        op(1, 0, 10, add(5), Outcome::Unknown),
        op(2, 20, 30, Action::ReadCounter, count(1)),
        op(1, 40, 50, add(1), done()),
        op(2, 60, 70, Action::ReadCounter, count(7)),
    ]);
}

#[test]
fn keys_have_nothing_to_do_with_each_other() {
    let of = |key: &str, operation: Operation| Operation { key: key.to_owned(), ..operation };
    accepted(vec![
        of("a", op(1, 0, 10, put(1), done())),
        of("b", op(1, 20, 30, add(1), done())),
        of("a", op(1, 40, 50, Action::Read, saw(1))),
        of("b", op(1, 60, 70, Action::ReadCounter, count(1))),
        of("c", op(1, 60, 70, Action::ReadList, list(&[]))),
    ]);
}

#[test]
fn a_read_without_an_answer_says_nothing() {
    accepted(vec![
        op(1, 0, 10, put(1), done()),
        op(1, 20, 30, Action::Read, Outcome::Unknown),
        op(1, 20, 30, Action::Read, Outcome::Failed),
    ]);
}
