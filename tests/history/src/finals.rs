//! What the last reads say: every acknowledged write is there unless overwritten, and nothing is there twice.
//!
//! Weaker than linearizability and far simpler, so it is a second opinion on the promise that matters most; and it
//! counts. It reads histories that end with a read of every key, made when nothing else is going on.

use std::collections::HashMap;

use crate::{
    history::{History, InvalidHistory, KeyHistory},
    operation::{Action, Answer, Kind, Operation},
    verdict::Violation,
};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Finals {
    /// Keys that were read after their last acknowledged write.
    pub keys: u64,
    /// Acknowledged writes of those keys.
    pub acknowledged: u64,
    /// Those that are neither there nor overwritten. Of a counter: as few as explain what is missing.
    pub lost: u64,
    /// Appends and adds that were done more than once. Of a counter: as few as explain what is too much.
    pub doubled: u64,
    /// The first keys with a loss or a double, explained; at most [`Finals::EXPLAINED`].
    pub violations: Vec<Violation>,
    /// Keys with acknowledged writes that nobody read afterwards. Nothing is known of them; a test must see that there
    /// are none.
    pub unread: Vec<String>,
}

impl Finals {
    /// Violations that are explained; more are only counted.
    pub const EXPLAINED: usize = 8;

    /// Whether all keys were read, and nothing is lost or there twice.
    pub fn is_good(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.unread.is_empty()
    }
}

/// Compares the last read of every key with the writes before it.
///
/// # Errors
/// When the operations are no history ([`History::validate`]).
pub fn final_reads(history: &History) -> Result<Finals, InvalidHistory> {
    history.validate()?;
    let mut finals = Finals::default();
    for key in history.by_key() {
        let writes: Vec<&Operation> =
            key.operations.iter().copied().filter(|operation| operation.is_acknowledged_write()).collect();
        let reads = key.operations.iter().copied().filter(|one| one.action.is_read());
        let last_write = writes.iter().map(|write| write.returned).max().unwrap_or(0);
        let Some(last) = reads.max_by_key(|read| read.called).filter(|read| read.called >= last_write) else {
            if !writes.is_empty() {
                finals.unread.push(key.key.to_owned());
            }
            continue;
        };
        finals.keys += 1;
        finals.acknowledged += writes.len() as u64;
        let (lost, doubled) = match key.kind {
            Kind::Register => register(&key, &writes, last),
            Kind::List => list(&key, &writes, last),
            Kind::Counter => counter(&key, &writes, last),
        };
        finals.lost += lost.count;
        finals.doubled += doubled;
        if (lost.count > 0 || doubled > 0) && finals.violations.len() < Finals::EXPLAINED {
            let reason = format!("{} acknowledged writes are lost, {doubled} were done twice", lost.count);
            let shown = lost.some.into_iter().take(Finals::EXPLAINED).chain([last]).collect::<Vec<_>>();
            finals.violations.push(Violation::between(key.key, reason, &shown));
        }
    }
    Ok(finals)
}

/// Lost writes: how many, and some of them where they can be told.
struct Lost<'a> {
    count: u64,
    some: Vec<&'a Operation>,
}

impl<'a> Lost<'a> {
    fn these(some: Vec<&'a Operation>) -> Self {
        Self { count: some.len() as u64, some }
    }
}

/// A write is lost when it began after everything that can have made what was read had ended, or has a higher revision.
fn register<'a>(key: &KeyHistory<'a>, writes: &[&'a Operation], last: &Operation) -> (Lost<'a>, u64) {
    let held = last.seen().flatten();
    let made_it = |one: &&&Operation| {
        let happened = one.is_unknown() || one.is_acknowledged_write();
        let makes = held.map_or(one.action.removes(), |held| one.action.value_written() == Some(held.value));
        happened && makes && one.called <= last.returned
    };
    // Before everything, for a key that is not there.
    let never = held.is_none().then_some(-1i128);
    let until = key.operations.iter().filter(made_it).map(|one| i128::from(one.open_until())).max().or(never);
    let revision = held.and_then(|held| held.revision);
    let lost = |write: &&Operation| {
        until.is_none_or(|until| i128::from(write.called) > until)
            || write.revision_written().zip(revision).is_some_and(|(written, read)| written > read)
    };
    (Lost::these(writes.iter().copied().filter(lost).collect()), 0)
}

/// An append is lost when its element is not there, and was done twice when it is there more often than appended.
fn list<'a>(key: &KeyHistory<'a>, writes: &[&'a Operation], last: &Operation) -> (Lost<'a>, u64) {
    let Some(Answer::List(list)) = last.answer() else { return (Lost::these(Vec::new()), 0) };
    let mut there: HashMap<u64, i64> = HashMap::new();
    for element in list {
        *there.entry(*element).or_default() += 1;
    }
    let mut lost = Vec::new();
    for write in writes {
        let Action::Append { element } = write.action else { continue };
        let count = there.entry(element).or_default();
        *count -= 1;
        if *count < 0 {
            lost.push(*write);
        }
    }
    for operation in key.operations.iter().filter(|operation| operation.is_unknown()) {
        if let Action::Append { element } = operation.action {
            *there.entry(element).or_default() -= 1;
        }
    }
    let doubled = there.values().filter(|count| **count > 0).map(|count| count.unsigned_abs()).sum();
    (Lost::these(lost), doubled)
}

/// The sum is between what was acknowledged, and that with all that is unknown.
fn counter<'a>(key: &KeyHistory<'a>, writes: &[&'a Operation], last: &Operation) -> (Lost<'a>, u64) {
    let Some(Answer::Count(count)) = last.answer() else { return (Lost::these(Vec::new()), 0) };
    let amount = |operation: &&Operation| match operation.action {
        Action::Add { amount } => u128::from(amount),
        _ => 0,
    };
    let count = u128::from(*count);
    let acknowledged: u128 = writes.iter().map(amount).sum();
    let unknown: u128 = key.operations.iter().filter(|operation| operation.is_unknown()).map(amount).sum();
    let largest = key.operations.iter().map(amount).max().unwrap_or(0).max(1);
    let fewest = |sum: u128| u64::try_from(sum.div_ceil(largest)).unwrap_or(u64::MAX);
    let lost = Lost { count: fewest(acknowledged.saturating_sub(count)), some: Vec::new() };
    (lost, fewest(count.saturating_sub(acknowledged + unknown)))
}
