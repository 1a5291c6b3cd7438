use bytes::Bytes;
use granary_common::{SlotRange, limits::FIRST_TERM, slot_of};
use granary_proto::{
    kv::{CompareAndSetRequest, compare_and_set_request, guard::Condition},
    map,
    storage::{Answer, Command, answer::Kind, command::Operation},
};

use super::fixture::*;
use crate::{ApplyError, Overlay, kv, rows};

fn full() -> Shard {
    Shard::new(SlotRange::ALL)
}

fn failed(answer: &Answer) -> Vec<(Bytes, bool, u64)> {
    match &answer.kind {
        Some(Kind::GuardFailed(failed)) => {
            failed.current.iter().map(|current| (current.key.clone(), current.found, current.revision)).collect()
        }
        other => panic!("a guard should have failed, but the answer is {other:?}"),
    }
}

#[test]
fn each_write_raises_the_revision_by_one_and_all_keys_of_a_batch_share_it() {
    let mut shard = full();
    assert_eq!(shard.apply(put("a", "1")), written(1, false));
    assert_eq!(shard.apply(batch(vec![put_write("b", "2"), put_write("c", "3")])), written(2, false));
    assert_eq!(shard.apply(delete("a")), written(3, true));
    assert_eq!(shard.apply(delete("a")), written(4, false));
    assert_eq!(shard.get("a"), None);
    assert_eq!(shard.get("b"), Some((bytes("2"), 2)));
    assert_eq!(shard.get("c"), Some((bytes("3"), 2)));
}

#[test]
fn the_last_of_several_writes_of_one_key_in_a_batch_holds() {
    let mut shard = full();
    shard.apply(batch(vec![
        put_write("a", "1"),
        delete_write("a"),
        put_write("a", "2"),
        put_write("b", "3"),
        delete_write("b"),
    ]));
    assert_eq!(shard.get("a"), Some((bytes("2"), 1)));
    assert_eq!(shard.get("b"), None);
}

#[test]
fn a_guard_that_does_not_hold_changes_nothing_and_tells_what_is_there() {
    let mut shard = full();
    shard.apply(put("{t}a", "1"));
    let rows_before = shard.count(rows::Kind::Data);
    for (condition, holds) in [
        (Condition::Absent(true), false),
        (Condition::Present(true), true),
        (Condition::Value(bytes("1")), true),
        (Condition::Value(bytes("2")), false),
        (Condition::Revision(1), true),
        (Condition::Revision(2), false),
    ] {
        let mut tried = shard.clone();
        let answer = tried.apply(txn(vec![guard("{t}a", condition.clone())], vec![put_write("{t}b", "x")]));
        if holds {
            assert_eq!(answer, written(2, false), "{condition:?}");
            assert_eq!(tried.get("{t}b"), Some((bytes("x"), 2)));
        } else {
            assert_eq!(failed(&answer), vec![(bytes("{t}a"), true, 1)], "{condition:?}");
            assert_eq!(tried.state.revision, 1);
            assert_eq!(tried.count(rows::Kind::Data), rows_before);
        }
    }
}

#[test]
fn guards_on_a_missing_key_hold_only_when_it_shall_be_absent() {
    for (condition, holds) in [
        (Condition::Absent(true), true),
        (Condition::Present(true), false),
        (Condition::Value(Bytes::new()), false),
        (Condition::Revision(1), false),
    ] {
        let answer = full().apply(txn(vec![guard("a", condition.clone())], vec![put_write("a", "x")]));
        assert_eq!(answer == written(1, false), holds, "{condition:?}");
    }
}

#[test]
fn a_transaction_of_guards_only_raises_no_revision() {
    let mut shard = full();
    shard.apply(put("a", "1"));
    assert_eq!(shard.apply(txn(vec![guard("a", Condition::Present(true))], vec![])), written(1, false));
    assert_eq!(shard.apply(put("a", "2")), written(2, false));
}

#[test]
fn compare_and_set_replaces_or_deletes_only_what_was_expected() {
    let cas = |condition, change| {
        command(Operation::CompareAndSet(CompareAndSetRequest {
            expected: Some(guard("a", condition)),
            change: Some(change),
            ..Default::default()
        }))
    };
    let value = |text| compare_and_set_request::Change::Value(bytes(text));
    let mut shard = full();
    assert_eq!(shard.apply(cas(Condition::Absent(true), value("1"))), written(1, false));
    assert_eq!(failed(&shard.apply(cas(Condition::Absent(true), value("2")))), vec![(bytes("a"), true, 1)]);
    assert_eq!(shard.apply(cas(Condition::Revision(1), value("3"))), written(2, false));
    let delete = compare_and_set_request::Change::Delete(true);
    assert_eq!(shard.apply(cas(Condition::Value(bytes("3")), delete)), written(3, true));
    assert_eq!(shard.get("a"), None);
}

#[test]
fn failed_guards_name_at_most_16_keys_and_little_more_than_4_mib_of_values() {
    let mut shard = full();
    let large = "v".repeat(3 * 1024 * 1024);
    let writes = (0..20).map(|n| put_write(&format!("{{t}}{n:02}"), if n < 2 { &large } else { "" })).collect();
    shard.apply(batch(writes));
    let guards = |from: u32| (from..20).map(|n| guard(&format!("{{t}}{n:02}"), Condition::Absent(true))).collect();
    assert_eq!(failed(&shard.apply(txn(guards(0), vec![]))).len(), 1);
    assert_eq!(failed(&shard.apply(txn(guards(2), vec![]))).len(), 16);
}

#[test]
fn a_command_with_a_key_outside_the_range_changes_nothing_but_how_far_the_log_is_applied() {
    let slot = slot_of(b"foo");
    let mut shard = Shard::new(SlotRange { start: slot, end: slot + 1 });
    shard.apply(put("foo", "1"));
    let before = shard.clone();
    let range = map::SlotRange { start: slot.into(), end: u32::from(slot) + 1 };
    let foreign = [
        put("bar", "2"),
        batch(vec![put_write("foo", "2"), put_write("bar", "2")]),
        txn(vec![guard("bar", Condition::Absent(true))], vec![put_write("foo", "2")]),
        delete_range("", "", "bar"),
    ];
    for (command, index) in foreign.into_iter().zip(before.state.applied_index + 1..) {
        let answer = shard.apply(retried(command, 7, 1, 1));
        assert_eq!(answer.kind, Some(Kind::WrongRange(range)));
        assert_eq!(shard.state.applied_index, index);
        (shard.state.applied_index, shard.state.commands) = (before.state.applied_index, before.state.commands);
        let mut overlay = Overlay::new(&shard.stored);
        crate::shard::save(&mut overlay, &shard.state);
        let writes = overlay.into_writes();
        shard.stored.write(writes);
        assert!(shard.stored == before.stored && shard.state == before.state);
        shard.state.applied_index = index;
    }
}

#[test]
fn deleting_a_range_within_a_tag_leaves_other_tags_of_its_slot_alone() {
    // Two tags of one slot, found by search.
    let other =
        (0..).map(|n: u32| format!("t{n}")).find(|tag| kv::tag_slot(tag.as_bytes()) == kv::tag_slot(b"x")).unwrap();
    let mut shard = full();
    let foreign = [format!("{{{other}}}b"), format!("a{{{other}}}b"), format!("b{{{other}}}")];
    let own = ["{x}a", "{x}b", "a{x}c", "c{x}d"];
    for key in foreign.iter().map(String::as_str).chain(own) {
        shard.apply(put(key, "1"));
    }
    assert_eq!(shard.apply(delete_range("", "c", "x")), written(8, true));
    for key in foreign {
        assert!(shard.get(&key).is_some(), "{key}");
    }
    // "{" sorts behind "c", so of the tag's keys only this one is inside the range.
    assert_eq!(shard.get("a{x}c"), None);
    assert!(shard.get("{x}a").is_some() && shard.get("c{x}d").is_some());
    assert_eq!(shard.apply(delete_range("", "", "x")), written(9, true));
    assert_eq!(shard.apply(delete_range("", "", "x")), written(10, false));
    assert_eq!(shard.count(rows::Kind::Data), 3);
}

#[test]
fn deleting_a_range_without_a_tag_deletes_it_in_every_slot_of_the_shard() {
    let mut shard = full();
    for n in 0..50 {
        shard.apply(put(&format!("key{n:02}"), "1"));
    }
    assert_eq!(shard.apply(delete_range("key10", "key40", "")), written(51, true));
    assert_eq!(shard.count(rows::Kind::Data), 20);
    assert!(shard.get("key09").is_some() && shard.get("key40").is_some());
    assert_eq!(shard.apply(delete_range("", "", "")), written(52, true));
    assert_eq!(shard.count(rows::Kind::Data), 0);
    assert_eq!(shard.state.bytes, 0);
    assert_eq!(shard.apply(delete_range("", "", "")), written(53, false));
}

#[test]
fn an_entry_that_was_applied_is_skipped_and_a_gap_is_an_error() {
    let mut shard = full();
    shard.apply(put("a", "1"));
    let mut overlay = Overlay::new(&shard.stored);
    let applied = shard.state.applied_index;
    assert_eq!(kv::apply(&mut overlay, &mut shard.state, &[put("a", "2")], applied, FIRST_TERM).unwrap(), None);
    assert!(overlay.is_empty());
    let gap = kv::apply(&mut overlay, &mut shard.state, &[put("a", "2")], applied + 2, FIRST_TERM);
    assert!(matches!(gap, Err(ApplyError::Gap { .. })));
}

#[test]
fn a_command_that_this_version_does_not_know_is_an_error() {
    let unknown = [
        Command::default(),
        batch(vec![granary_proto::kv::Write { key: bytes("a"), change: None }]),
        txn(vec![granary_proto::kv::Guard { key: bytes("a"), condition: None }], vec![]),
    ];
    for command in unknown {
        let mut shard = full();
        let mut overlay = Overlay::new(&shard.stored);
        let index = shard.state.applied_index + 1;
        let applied = kv::apply(&mut overlay, &mut shard.state, std::slice::from_ref(&command), index, FIRST_TERM);
        assert!(matches!(applied, Err(ApplyError::UnknownOperation { .. })), "{command:?}");
    }
}
