//! Histories that are wrong, each in a way that a real system was wrong. Each must be refused by the quick rules and
//! search together, and by the search alone.

use crate::{
    Action, Budget, Change, Expected, Held, Operation, Outcome, Report, Verdict, check,
    check::{Decision, by_search},
    fixture::*,
    operation::Answer,
    search::Look,
};

/// Refuses, twice, and gives the explanation.
#[track_caller]
fn refused(operations: Vec<Operation>) -> String {
    let history = history(operations);
    let report: Report = check(&history, Budget::default()).unwrap();
    assert_eq!(report.verdict(), Verdict::Violated, "{report}");
    for key in history.by_key() {
        let searched = by_search(&key, Look::Ahead, &mut 100_000);
        assert!(matches!(searched, Decision::Violated(_)), "the search alone: {searched:?}");
    }
    report.to_string()
}

#[test]
fn a_stale_read() {
    let told =
        refused(vec![op(1, 0, 10, put(1), done()), op(1, 20, 30, put(2), done()), op(2, 40, 50, Action::Read, saw(1))]);
    assert!(told.contains("client 2 [40..50] read -> 1"), "{told}");
}

#[test]
fn a_stale_read_by_revision() {
    refused(vec![
        op(1, 0, 10, put(1), done_at(4)),
        op(1, 20, 30, put(1), done_at(9)),
        op(2, 40, 50, Action::Read, saw_at(1, 4)),
    ]);
}

#[test]
fn an_acknowledged_write_that_is_not_there() {
    refused(vec![op(1, 0, 10, put(1), done()), op(2, 20, 30, Action::Read, saw_nothing())]);
}

#[test]
fn a_lost_update() {
    // Both read 1 and swapped it: the second swap cannot have found it.
    refused(vec![
        op(1, 0, 10, put(1), done()),
        op(1, 20, 40, cas(Expected::Value(1), 2), done()),
        op(2, 20, 40, cas(Expected::Value(1), 3), done()),
        op(1, 50, 60, Action::Read, saw(3)),
    ]);
}

#[test]
fn a_read_of_a_failed_write() {
    let told = refused(vec![
        op(1, 0, 10, put(1), done()),
        op(2, 20, 30, put(2), Outcome::Failed),
        op(1, 40, 50, Action::Read, saw(2)),
    ]);
    assert!(told.contains("surely failed"), "{told}");
    assert!(told.contains("client 2 [20..30] put 2 -> failed"), "{told}");
}

#[test]
fn a_read_of_what_nobody_wrote() {
    let told = refused(vec![op(1, 0, 10, put(1), done()), op(1, 40, 50, Action::Read, saw(7))]);
    assert!(told.contains("7 was seen, which nobody wrote"), "{told}");
}

#[test]
fn a_read_of_what_will_be_written() {
    refused(vec![op(2, 0, 10, Action::Read, saw(1)), op(1, 20, 30, put(1), done())]);
}

#[test]
fn a_retry_applied_twice() {
    // The retry of the first put was applied again, behind the second.
    refused(vec![
        op(1, 0, 10, put(1), done()),
        op(2, 20, 30, put(2), done()),
        op(3, 40, 50, Action::Read, saw(2)),
        op(3, 60, 70, Action::Read, saw(1)),
    ]);
}

#[test]
fn a_compare_and_set_that_wins_twice_in_a_split_brain() {
    refused(vec![
        op(1, 0, 10, cas(Expected::Absent, 1), done()),
        op(2, 0, 10, cas(Expected::Absent, 2), done()),
        op(1, 20, 30, Action::Read, saw(1)),
    ]);
    refused(vec![
        op(0, 0, 10, put(1), done_at(3)),
        op(1, 20, 40, cas(Expected::Revision(3), 2), done_at(4)),
        op(2, 20, 40, cas(Expected::Revision(3), 3), done_at(5)),
    ]);
}

#[test]
fn two_writes_with_one_revision() {
    refused(vec![op(1, 0, 10, put(1), done_at(3)), op(2, 0, 10, put(2), done_at(3))]);
}

#[test]
fn a_revision_that_goes_back() {
    refused(vec![op(1, 0, 10, put(1), done_at(7)), op(2, 20, 30, put(2), done_at(6))]);
}

#[test]
fn reads_that_go_backwards_while_a_write_is_open() {
    refused(vec![
        op(1, 0, 10, put(1), done()),
        op(2, 20, 100, put(2), done()),
        op(3, 30, 40, Action::Read, saw(2)),
        op(4, 50, 60, Action::Read, saw(1)),
    ]);
}

#[test]
fn an_unknown_write_that_appears_disappears_and_appears_again() {
    refused(vec![
        op(1, 0, 10, put(1), done()),
        op(2, 15, 20, put(2), Outcome::Unknown),
        op(3, 30, 40, Action::Read, saw(2)),
        op(3, 50, 60, Action::Read, saw(1)),
        op(3, 70, 80, Action::Read, saw(2)),
    ]);
}

#[test]
fn an_unknown_compare_and_set_that_is_done_without_its_condition() {
    refused(vec![
        op(1, 0, 10, put(1), done()),
        op(2, 15, 20, cas(Expected::Value(5), 2), Outcome::Unknown),
        op(3, 30, 40, Action::Read, saw(2)),
    ]);
}

#[test]
fn a_compare_and_set_refused_though_its_condition_held() {
    let refused_with = |held| Outcome::Ok(Answer::NotSwapped(held));
    let held = Some(Held { value: 1, revision: Some(3) });
    for expected in [Expected::Value(1), Expected::Revision(3), Expected::Present] {
        refused(vec![op(1, 0, 10, put(1), done_at(3)), op(1, 20, 30, cas(expected, 2), refused_with(held))]);
    }
    refused(vec![op(1, 20, 30, cas(Expected::Absent, 2), refused_with(None))]);
}

#[test]
fn a_deleted_key_that_comes_back() {
    refused(vec![
        op(1, 0, 10, put(1), done()),
        op(1, 20, 30, Action::Delete, deleted(true)),
        op(2, 40, 50, Action::Read, saw(1)),
    ]);
    refused(vec![
        op(1, 0, 10, put(1), done()),
        op(1, 20, 30, Action::Delete, deleted(true)),
        op(1, 40, 50, Action::Delete, deleted(true)),
    ]);
    let delete_if_one = Action::CompareAndSet { expected: Expected::Value(1), change: Change::Delete };
    refused(vec![
        op(1, 0, 10, put(1), done()),
        op(1, 20, 30, delete_if_one, done()),
        op(2, 40, 50, Action::Read, saw(1)),
    ]);
}

#[test]
fn a_lost_append() {
    let told = refused(vec![
        op(1, 0, 10, append(1), done()),
        op(2, 20, 30, append(2), done()),
        op(3, 40, 50, Action::ReadList, list(&[1])),
    ]);
    assert!(told.contains("2 was appended before a list was read that lacks it"), "{told}");
}

#[test]
fn a_lost_append_that_a_later_one_shows() {
    refused(vec![
        op(1, 0, 10, append(1), done()),
        op(2, 20, 30, append(2), done()),
        op(3, 40, 50, append(3), done()),
        op(3, 60, 70, Action::ReadList, list(&[1, 3])),
    ]);
}

#[test]
fn appends_in_another_order_than_in_time() {
    refused(vec![
        op(1, 0, 10, append(1), done()),
        op(2, 20, 30, append(2), done()),
        op(3, 40, 50, Action::ReadList, list(&[2, 1])),
    ]);
}

#[test]
fn two_readers_that_saw_two_orders() {
    refused(vec![
        op(1, 0, 10, append(1), done()),
        op(2, 0, 10, append(2), done()),
        op(3, 20, 30, Action::ReadList, list(&[2, 1])),
        op(4, 20, 30, Action::ReadList, list(&[1, 2])),
    ]);
}

#[test]
fn an_append_that_is_there_twice() {
    refused(vec![op(1, 0, 10, append(1), done()), op(3, 20, 30, Action::ReadList, list(&[1, 1]))]);
}

#[test]
fn an_append_that_surely_failed_and_is_there() {
    let told = refused(vec![op(1, 0, 10, append(1), Outcome::Failed), op(3, 20, 30, Action::ReadList, list(&[1]))]);
    assert!(told.contains("surely failed"), "{told}");
}

#[test]
fn a_list_that_gets_shorter() {
    refused(vec![
        op(1, 0, 100, append(1), done()),
        op(2, 20, 30, Action::ReadList, list(&[1])),
        op(2, 40, 50, Action::ReadList, list(&[])),
    ]);
}

#[test]
fn a_counter_that_counts_a_retry_twice() {
    let told = refused(vec![
        op(1, 0, 10, add(1), done()),
        op(2, 0, 10, add(1), Outcome::Unknown),
        op(3, 20, 30, Action::ReadCounter, count(3)),
    ]);
    assert!(told.contains("at most 2"), "{told}");
}

#[test]
fn a_counter_that_lost_an_add() {
    let told = refused(vec![
        op(1, 0, 10, add(1), done()),
        op(2, 0, 10, add(1), done()),
        op(3, 20, 30, Action::ReadCounter, count(1)),
    ]);
    assert!(told.contains("at least 2"), "{told}");
}

#[test]
fn a_counter_that_goes_back() {
    refused(vec![
        op(1, 0, 100, add(1), done()),
        op(3, 20, 30, Action::ReadCounter, count(1)),
        op(3, 40, 50, Action::ReadCounter, count(0)),
    ]);
}

#[test]
fn a_sum_that_no_adds_make() {
    // Within every bound, but 2 and 2 never make 3.
    refused(vec![
        op(1, 0, 100, add(2), done()),
        op(2, 0, 100, add(2), done()),
        op(3, 20, 30, Action::ReadCounter, count(3)),
    ]);
}

#[test]
fn the_first_wrong_answer_is_named_and_the_order_before_it() {
    let mut operations = vec![op(1, 0, 5, put(1), done_at(1)), op(2, 10, 15, cas(Expected::Value(1), 2), done_at(2))];
    operations.push(op(3, 20, 25, Action::Read, saw_at(1, 1)));
    // What comes later is of no interest, wrong or not.
    operations.extend((0..50).map(|index| op(4, 100 + index * 10, 105 + index * 10, put(100 + index), done())));
    operations.push(op(4, 1000, 1001, Action::Read, saw(100)));
    let told = refused(operations);
    assert!(told.contains("client 3 [20..25] read -> 1 at revision 1"), "{told}");
    assert!(told.contains("then the key holds 2 (revision 2)"), "{told}");
    assert!(told.lines().count() < 12, "{told}");
}

#[test]
fn running_out_of_steps_is_neither_good_nor_bad() {
    let mut operations: Vec<Operation> = (0..30).map(|index| op(1, 0, 10, add(index + 1), done())).collect();
    operations.push(op(2, 5, 20, Action::ReadCounter, count(200)));
    operations.push(op(2, 5, 20, Action::ReadCounter, count(201)));
    let report = check(&history(operations), Budget { steps_per_key: 50 }).unwrap();
    assert_eq!(report.verdict(), Verdict::Undecided);
    assert_eq!(report.undecided, ["k"]);
    assert!(report.to_string().contains("not decided"), "{report}");
}
