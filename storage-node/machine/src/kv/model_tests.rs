//! Random commands against a simple model: a map of keys, and a map of answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use granary_common::{SlotRange, limits::FIRST_INDEX, routed_part, slot_of};
use granary_proto::{
    kv::{
        CompareAndSetRequest, Current, Guard, Retry, ScanOrder, ScanRequest, Write, compare_and_set_request,
        guard::Condition, write::Change,
    },
    map,
    storage::{Answer, Command, GuardFailed, ShardState, TooOld, answer::Kind, command::Operation},
};
use proptest::prelude::*;

use super::fixture::*;
use crate::kv;

/// Owns "{a}", "{c}" and some plain keys, not "{b}".
const OWNED: SlotRange = SlotRange { start: 4000, end: 16384 };
const KEYS: [&str; 12] =
    ["{a}1", "{a}2", "{a}3", "x{a}", "{b}1", "{c}1", "{c}2", "plain", "foo", "bar", "somekey", "a"];

#[derive(Default)]
struct Model {
    rows: BTreeMap<Bytes, (Bytes, u64)>,
    revision: u64,
    clients: BTreeMap<u64, (u64, BTreeMap<u64, Answer>)>,
}

impl Model {
    fn apply(&mut self, command: &Command) -> Answer {
        let operation = command.operation.as_ref().unwrap();
        if !slots(operation).iter().all(|slot| OWNED.contains(*slot)) {
            let range = map::SlotRange { start: OWNED.start.into(), end: OWNED.end.into() };
            return Answer { kind: Some(Kind::WrongRange(range)) };
        }
        let Some(retry) = command.retry else { return self.execute(operation) };
        let (answered_below, answers) = self.clients.entry(retry.client_id).or_default();
        *answered_below = retry.answered_below.max(*answered_below);
        answers.retain(|sequence, _| sequence >= answered_below);
        if retry.sequence < *answered_below {
            return Answer { kind: Some(Kind::TooOld(TooOld { answered_below: *answered_below })) };
        }
        if let Some(answer) = answers.get(&retry.sequence) {
            return answer.clone();
        }
        let answer = self.execute(operation);
        let (_, answers) = self.clients.get_mut(&retry.client_id).unwrap();
        answers.insert(retry.sequence, answer.clone());
        answer
    }

    fn execute(&mut self, operation: &Operation) -> Answer {
        let before = self.rows.clone();
        match operation {
            Operation::Write(write) => self.write(write),
            Operation::Batch(batch) => batch.writes.iter().for_each(|write| self.write(write)),
            Operation::CompareAndSet(cas) => {
                let expected = cas.expected.clone().unwrap();
                if let Some(answer) = self.check(std::slice::from_ref(&expected)) {
                    return answer;
                }
                let change = match cas.change.clone().unwrap() {
                    compare_and_set_request::Change::Value(value) => Change::Value(value),
                    compare_and_set_request::Change::Delete(delete) => Change::Delete(delete),
                };
                self.write(&Write { key: expected.key, change: Some(change) });
            }
            Operation::Txn(txn) => {
                if let Some(answer) = self.check(&txn.guards) {
                    return answer;
                }
                txn.writes.iter().for_each(|write| self.write(write));
                if txn.writes.is_empty() {
                    return written(self.revision, false);
                }
            }
            Operation::DeleteRange(body) => self.rows.retain(|key, _| {
                let inside = *key >= body.start && (body.end.is_empty() || *key < body.end);
                !(inside && (body.tag.is_empty() || routed_part(key) == body.tag))
            }),
        }
        self.revision += 1;
        let deleted = match operation {
            Operation::Batch(_) | Operation::Txn(_) => None,
            _ => Some(before.keys().any(|key| !self.rows.contains_key(key))),
        };
        let existed = deleted.unwrap_or_else(|| deleted_any(operation, &before));
        written(self.revision, existed)
    }

    fn check(&self, guards: &[Guard]) -> Option<Answer> {
        let holds = |guard: &&Guard| {
            let row = self.rows.get(&guard.key);
            match guard.condition.as_ref().unwrap() {
                Condition::Absent(_) => row.is_none(),
                Condition::Present(_) => row.is_some(),
                Condition::Value(value) => row.is_some_and(|(found, _)| found == value),
                Condition::Revision(revision) => row.is_some_and(|(_, found)| found == revision),
            }
        };
        let current = |guard: &Guard| {
            let (value, revision) = self.rows.get(&guard.key).cloned().unwrap_or_default();
            Current { key: guard.key.clone(), found: self.rows.contains_key(&guard.key), value, revision }
        };
        let failed: Vec<Current> = guards.iter().filter(|guard| !holds(guard)).map(current).collect();
        (!failed.is_empty()).then_some(Answer { kind: Some(Kind::GuardFailed(GuardFailed { current: failed })) })
    }

    fn write(&mut self, write: &Write) {
        match write.change.as_ref().unwrap() {
            Change::Value(value) => {
                self.rows.insert(write.key.clone(), (value.clone(), self.revision + 1));
            }
            Change::Delete(_) => {
                self.rows.remove(&write.key);
            }
        }
    }
}

/// Whether one of the writes, in their order, deletes a row that is there.
fn deleted_any(operation: &Operation, before: &BTreeMap<Bytes, (Bytes, u64)>) -> bool {
    let writes = match operation {
        Operation::Batch(batch) => &batch.writes,
        Operation::Txn(txn) => &txn.writes,
        _ => return false,
    };
    let mut there: BTreeMap<&Bytes, ()> = before.keys().map(|key| (key, ())).collect();
    writes.iter().fold(false, |existed, write| match write.change {
        Some(Change::Delete(_)) => there.remove(&write.key).is_some() || existed,
        _ => {
            there.insert(&write.key, ());
            existed
        }
    })
}

fn slots(operation: &Operation) -> Vec<u16> {
    let of_writes = |writes: &[Write]| writes.iter().map(|write| slot_of(&write.key)).collect::<Vec<_>>();
    match operation {
        Operation::Write(write) => vec![slot_of(&write.key)],
        Operation::CompareAndSet(cas) => vec![slot_of(&cas.expected.as_ref().unwrap().key)],
        Operation::Batch(batch) => of_writes(&batch.writes),
        Operation::Txn(txn) => {
            of_writes(&txn.writes).into_iter().chain(txn.guards.iter().map(|guard| slot_of(&guard.key))).collect()
        }
        Operation::DeleteRange(body) if body.tag.is_empty() => vec![],
        Operation::DeleteRange(body) => vec![kv::tag_slot(&body.tag)],
    }
}

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&KEYS[..])
}

fn value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["", "1", "2", "three"][..])
}

fn any_write() -> impl Strategy<Value = Write> {
    prop_oneof![3 => (key(), value()).prop_map(|(key, value)| put_write(key, value)), 1 => key().prop_map(delete_write)]
}

fn any_guard() -> impl Strategy<Value = Guard> {
    let condition = prop_oneof![
        Just(Condition::Absent(true)),
        Just(Condition::Present(true)),
        value().prop_map(|value| Condition::Value(bytes(value))),
        (1..20u64).prop_map(Condition::Revision),
    ];
    (key(), condition).prop_map(|(key, condition)| guard(key, condition))
}

fn any_cas() -> impl Strategy<Value = Command> {
    let change = prop_oneof![
        value().prop_map(|value| compare_and_set_request::Change::Value(bytes(value))),
        Just(compare_and_set_request::Change::Delete(true)),
    ];
    (any_guard(), change).prop_map(|(expected, change)| {
        let cas = CompareAndSetRequest { expected: Some(expected), change: Some(change), ..Default::default() };
        command(Operation::CompareAndSet(cas))
    })
}

fn any_range() -> impl Strategy<Value = Command> {
    let bound = || prop_oneof![Just(""), key(), Just("m")];
    (bound(), bound(), prop::sample::select(&["", "a", "b", "c", "foo"][..])).prop_map(|(start, end, tag)| {
        let (start, end) = if !end.is_empty() && start > end { (end, start) } else { (start, end) };
        delete_range(start, end, tag)
    })
}

/// Few clients with few numbers, so that retries in any order and writes that are too old are common.
fn any_retry() -> impl Strategy<Value = Option<Retry>> {
    let retry = (1..4u64, 1..10u64).prop_flat_map(|(client_id, sequence)| {
        let below = prop_oneof![4 => Just(1), 1 => 1..=sequence];
        below.prop_map(move |answered_below| Retry { client_id, sequence, answered_below, age_ms: 0 })
    });
    prop::option::of(retry)
}

fn any_command() -> impl Strategy<Value = Command> {
    let operation = prop_oneof![
        4 => any_write().prop_map(|write| command(Operation::Write(write))),
        2 => any_cas(),
        2 => prop::collection::vec(any_write(), 1..5).prop_map(batch),
        2 => (prop::collection::vec(any_guard(), 0..3), prop::collection::vec(any_write(), 0..4))
            .prop_map(|(guards, writes)| txn(guards, writes)),
        1 => any_range(),
    ];
    (operation, any_retry()).prop_map(|(command, retry)| Command { retry, ..command })
}

fn check_reads(shard: &Shard, model: &Model, page_rows: u32) -> Result<(), TestCaseError> {
    for (order, by_key) in [(ScanOrder::Slot, false), (ScanOrder::Key, true)] {
        let mut request = ScanRequest { page_rows, order: order.into(), ..Default::default() };
        let mut found = Vec::new();
        loop {
            let page = kv::scan_page(&shard.stored, &shard.state, &request).unwrap();
            found.extend(page.rows.into_iter().map(|row| (row.key, (row.value, row.revision))));
            request.cursor = page.next;
            if request.cursor.is_none() {
                break;
            }
        }
        let mut expected: Vec<_> = model.rows.clone().into_iter().collect();
        expected.sort_by_key(|(key, _)| (if by_key { 0 } else { slot_of(key) }, key.clone()));
        prop_assert_eq!(found, expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_commands_in_any_batches_do_what_a_map_of_keys_and_answers_does(
        batches in prop::collection::vec(prop::collection::vec(any_command(), 1..8), 1..8),
        page_rows in 1..5u32,
    ) {
        let mut model = Model::default();
        let mut batched = Shard::new(OWNED);
        let mut packed = Shard::new(OWNED);
        let mut one_by_one = Shard::new(OWNED);
        for commands in &batches {
            let expected: Vec<Answer> = commands.iter().map(|command| model.apply(command)).collect();
            prop_assert_eq!(&batched.apply_batch(commands), &expected);
            prop_assert_eq!(&packed.apply_pack(commands), &expected);
            let alone: Vec<Answer> = commands.iter().map(|command| one_by_one.apply(command.clone())).collect();
            prop_assert_eq!(&alone, &expected);
            prop_assert!(batched.stored == one_by_one.stored, "rows differ between batches and single entries");
        }
        prop_assert_eq!(batched.state.revision, model.revision);
        prop_assert_eq!(packed.state.applied_index, FIRST_INDEX + batches.len() as u64);
        let in_one_entry_or_many = ShardState { applied_index: batched.state.applied_index, ..packed.state.clone() };
        prop_assert_eq!(in_one_entry_or_many, batched.state.clone());
        let is_state = |(key, _): &(&Bytes, &Bytes)| crate::rows::Kind::of(key) == Ok(crate::rows::Kind::Shard);
        let rows = |shard: &Shard| -> Vec<_> {
            shard.stored.rows().filter(|row| !is_state(row)).map(|(key, row)| (key.clone(), row.clone())).collect()
        };
        prop_assert_eq!(rows(&packed), rows(&batched));
        for key in KEYS.iter().filter(|key| OWNED.contains(slot_of(key.as_bytes()))) {
            prop_assert_eq!(batched.get(key), model.rows.get(key.as_bytes()).cloned());
        }
        check_reads(&batched, &model, page_rows)?;
        let answers: usize = model.clients.values().map(|(_, answers)| answers.len()).sum();
        prop_assert_eq!(batched.answers(), answers);
    }
}

#[test]
fn the_models_range_leaves_out_one_tag_and_holds_the_others() {
    let owned = |tag: &[u8]| OWNED.contains(kv::tag_slot(tag));
    assert!(owned(b"a") && owned(b"c") && !owned(b"b"));
}
