use granary_common::{
    SlotRange,
    limits::{ANSWERS_KEPT_MS, FIRST_INDEX, FIRST_TERM},
};
use granary_proto::{
    kv::guard::Condition,
    storage::{Answer, TooOld, answer::Kind},
};

use super::{answers::MOST_MS, fixture::*};
use crate::rows::Kind as RowKind;

const CLIENT: u64 = 77;

fn full() -> Shard {
    Shard::new(SlotRange::ALL)
}

fn too_old(answered_below: u64) -> Answer {
    Answer { kind: Some(Kind::TooOld(TooOld { answered_below })) }
}

#[test]
fn a_retried_write_is_applied_once_also_when_the_retries_of_one_client_arrive_in_reverse_order() {
    let mut shard = full();
    let write = |n: u64| retried(put("key", &n.to_string()), CLIENT, n, 1);
    let first: Vec<Answer> = (1..=10).map(|n| shard.apply(write(n))).collect();
    let rows = shard.get("key");
    for n in (1..=10).rev() {
        assert_eq!(shard.apply(write(n)), first[n as usize - 1], "write {n}");
    }
    assert_eq!(shard.get("key"), rows);
    assert_eq!(shard.state.revision, 10);
}

#[test]
fn first_tries_that_arrive_in_reverse_order_are_each_applied_once() {
    let mut shard = full();
    for n in (1..=10).rev() {
        assert_eq!(shard.apply(retried(put(&n.to_string(), "v"), CLIENT, n, 1)), written(11 - n, false));
    }
    for n in 1..=10 {
        assert_eq!(shard.apply(retried(put(&n.to_string(), "w"), CLIENT, n, 1)), written(11 - n, false));
    }
    assert_eq!(shard.state.revision, 10);
}

#[test]
fn two_writes_of_one_key_a_delete_range_between_them_and_a_retry_in_one_batch_are_each_applied_once() {
    let first = retried(put("{t}k", "1"), CLIENT, 1, 1);
    let commands = [
        first.clone(),
        retried(delete_range("", "", "t"), CLIENT, 2, 1),
        retried(put("{t}k", "2"), CLIENT, 3, 1),
        first,
    ];
    let mut together = full();
    let answers = together.apply_batch(&commands);
    assert_eq!(answers, vec![written(1, false), written(2, true), written(3, false), written(1, false)]);
    assert_eq!(together.get("{t}k"), Some((bytes("2"), 3)));

    let mut one_by_one = full();
    let alone: Vec<Answer> = commands.iter().map(|command| one_by_one.apply(command.clone())).collect();
    assert_eq!(alone, answers);
    assert!(one_by_one.stored == together.stored);
}

#[test]
fn a_failed_guard_is_answered_the_same_to_a_retry_though_it_would_hold_by_then() {
    let mut shard = full();
    let guarded = retried(txn(vec![guard("a", Condition::Present(true))], vec![put_write("a", "2")]), CLIENT, 1, 1);
    let answer = shard.apply(guarded.clone());
    assert!(matches!(answer.kind, Some(Kind::GuardFailed(_))));
    shard.apply(put("a", "1"));
    assert_eq!(shard.apply(guarded), answer);
    assert_eq!(shard.get("a"), Some((bytes("1"), 1)));
}

#[test]
fn an_answer_with_values_has_a_row_of_its_own_until_its_client_has_it() {
    let mut shard = full();
    shard.apply(put("a", &"long".repeat(100)));
    let guarded = retried(txn(vec![guard("a", Condition::Absent(true))], vec![put_write("a", "2")]), CLIENT, 1, 1);
    let answer = shard.apply(guarded.clone());
    shard.apply(retried(put("b", "1"), CLIENT, 2, 1));
    assert_eq!((shard.answers(), shard.count(RowKind::Answer)), (2, 1));
    assert_eq!(shard.apply(guarded), answer);
    shard.apply(retried(put("b", "2"), CLIENT, 3, 2));
    assert_eq!((shard.answers(), shard.count(RowKind::Answer)), (2, 0));
}

#[test]
fn answers_below_what_the_client_has_are_dropped_and_writes_below_it_are_too_old() {
    let mut shard = full();
    for n in 1..=10 {
        shard.apply(retried(put("a", "v"), CLIENT, n, 1));
    }
    assert_eq!(shard.answers(), 10);
    shard.apply(retried(put("a", "v"), CLIENT, 11, 9));
    assert_eq!(shard.answers(), 3);
    assert_eq!(shard.apply(retried(put("a", "late"), CLIENT, 8, 1)), too_old(9));
    assert_eq!(shard.apply(retried(put("a", "late"), CLIENT, 9, 1)), written(9, false));
    assert_eq!(shard.get("a"), Some((bytes("v"), 11)));
}

#[test]
fn one_clients_numbers_say_nothing_of_anothers() {
    let mut shard = full();
    shard.apply(retried(put("a", "1"), 1, 5, 5));
    assert_eq!(shard.apply(retried(put("a", "2"), 2, 5, 1)), written(2, false));
    assert_eq!(shard.apply(retried(put("a", "3"), 2, 1, 1)), written(3, false));
}

/// Lets the shard's time pass until `to`, by entries of one leader.
fn let_pass(shard: &mut Shard, from: u64, to: u64) {
    for now in (from..=to).step_by(MOST_MS as usize).chain([to]) {
        shard.apply(at(put("filler", ""), now));
    }
}

/// Applies entries without a retry until the sweep has gone round over `clients` clients with `answers` answers.
fn sweep(shard: &mut Shard, now: u64, clients: u64, answers: u64) {
    for _ in 0..16 * (clients / 32 + answers / 64 + 3) {
        shard.apply(at(put("filler", ""), now));
    }
}

#[test]
fn the_answers_of_silent_clients_are_dropped_and_those_of_others_stay() {
    let mut shard = full();
    for client in 1..=100 {
        for n in 1..=3 {
            shard.apply(at(retried(put("a", "v"), client, n, 1), 1_000));
        }
    }
    shard.apply(at(retried(put("a", "v"), 50, 4, 1), 2_000));
    let_pass(&mut shard, 2_000, 1_000 + ANSWERS_KEPT_MS - 1);
    sweep(&mut shard, 1_000 + ANSWERS_KEPT_MS - 1, 100, 300);
    assert_eq!((shard.count(RowKind::Client), shard.answers()), (100, 301));
    sweep(&mut shard, 1_000 + ANSWERS_KEPT_MS, 100, 300);
    assert_eq!((shard.count(RowKind::Client), shard.answers()), (1, 4));
    sweep(&mut shard, 2_000 + ANSWERS_KEPT_MS, 100, 300);
    assert_eq!((shard.count(RowKind::Client), shard.answers()), (0, 0));
}

#[test]
fn a_client_with_many_answers_is_dropped_a_bounded_part_at_a_time_its_own_row_last() {
    let mut shard = full();
    for n in 1..=200 {
        shard.apply(retried(put("a", "v"), CLIENT, n, 1));
    }
    let late = 1_000 + ANSWERS_KEPT_MS;
    let_pass(&mut shard, 1_000, late - 1);
    let mut left = Vec::new();
    while shard.count(RowKind::Client) > 0 {
        shard.apply(at(put("filler", ""), late));
        if left.last() != Some(&shard.answers()) {
            left.push(shard.answers());
        }
        assert!(shard.state.applied_index < FIRST_INDEX + 500, "the sweep does not end");
    }
    assert_eq!(left.iter().copied().filter(|left| *left < 200).collect::<Vec<_>>(), vec![136, 72, 8, 0]);
}

#[test]
fn a_clock_that_is_set_an_hour_ahead_makes_no_retry_be_applied_twice() {
    let mut shard = full();
    let write = |value: &str, sequence| retried(put("key", value), CLIENT, sequence, 1);
    let first = shard.apply(at(write("1", 1), 1_000));
    let hour = 3_600_000;
    sweep(&mut shard, 1_000 + hour, 1, 1);
    shard.apply(at(put("key", "2"), 1_000 + hour));
    assert_eq!(shard.apply(at(write("1", 1), 1_001 + hour)), first, "the retry of a second ago");
    assert_eq!(shard.get("key").unwrap().0, bytes("2"));
}

#[test]
fn leaders_whose_clocks_differ_by_an_hour_make_no_retry_be_applied_twice() {
    let mut shard = full();
    let first = shard.apply(at(retried(put("key", "1"), CLIENT, 1, 1), 1_000));
    for term in 0..200 {
        shard.term = FIRST_TERM + 1 + term;
        shard.apply(at(put("key", "2"), if term % 2 == 0 { 3_600_000 } else { 1_000 }));
    }
    assert_eq!(shard.apply(at(retried(put("key", "1"), CLIENT, 1, 1), 1_000)), first);
    assert_eq!(shard.get("key").unwrap().0, bytes("2"));
}

#[test]
fn a_leader_with_a_slow_clock_does_not_make_a_client_look_silent() {
    let mut shard = full();
    let late = 10 * ANSWERS_KEPT_MS;
    shard.apply(at(retried(put("a", "v"), CLIENT, 1, 1), late));
    shard.apply(at(retried(put("a", "v"), CLIENT, 2, 1), 5));
    sweep(&mut shard, late + 1, 1, 2);
    assert_eq!(shard.answers(), 2);
}

#[test]
fn a_new_client_an_entry_does_not_outgrow_the_sweep() {
    let mut shard = full();
    let mut most = 0;
    // 100 clients live at a time: each is silent from its only write on, and time passes as they come.
    for client in 1..=3_000 {
        shard.apply(at(retried(put("a", "v"), client, 1, 1), client * ANSWERS_KEPT_MS / 100));
        most = most.max(shard.count(RowKind::Client));
    }
    assert!(most < 400, "{most} clients were kept where 100 are alive");
}
