//! Whether the revisions of a shard are what they promise to be: one for each write, growing with time.
//!
//! Linearizability is checked key by key. This looks across the keys of a shard: two leaders at once, or a shard that
//! came back with an older state, give the same revision twice or one that is too small, on whatever keys.

use std::collections::HashMap;

use crate::{
    history::{History, InvalidHistory},
    operation::Operation,
    verdict::Violation,
};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct RevisionReport {
    /// Revisions that were compared. None proves nothing.
    pub compared: u64,
    /// How many writes have a revision that cannot be.
    pub violated: u64,
    /// The first of them; at most [`RevisionReport::EXPLAINED`].
    pub violations: Vec<Violation>,
}

impl RevisionReport {
    /// Violations that are explained; more are only counted.
    pub const EXPLAINED: usize = 8;

    fn add(&mut self, reason: &str, one: &Operation, other: &Operation) {
        self.violated += 1;
        if self.violations.len() < Self::EXPLAINED {
            self.violations.push(Violation::between(&other.key, reason.to_owned(), &[one, other]));
        }
    }
}

/// Compares revisions within each shard. `shard_of` says in which one a key is, for the whole history. Each write must
/// have been one request of its own: the writes of a batch share a revision.
///
/// # Errors
/// When the operations are no history ([`History::validate`]).
pub fn check_revisions(history: &History, shard_of: impl Fn(&str) -> u32) -> Result<RevisionReport, InvalidHistory> {
    history.validate()?;
    let mut shards: HashMap<u32, Vec<&Operation>> = HashMap::new();
    for operation in history.operations.iter().filter(|operation| told(operation).is_some()) {
        shards.entry(shard_of(&operation.key)).or_default().push(operation);
    }
    let mut shards: Vec<_> = shards.into_iter().collect();
    shards.sort_unstable_by_key(|(shard, _)| *shard);
    let mut report = RevisionReport::default();
    for (_, mut operations) in shards {
        report.compared += operations.len() as u64;
        operations.sort_by_key(|operation| (operation.called, operation.returned));
        one_write_each(&operations, &mut report);
        growing(&operations, &mut report);
    }
    Ok(report)
}

/// The revision that an operation made or saw.
fn told(operation: &Operation) -> Option<u64> {
    operation.revision_written().or(operation.seen().flatten().and_then(|held| held.revision))
}

/// What a revision stands for: the key, and what it holds after it.
fn meaning(operation: &Operation) -> (&str, Option<u64>) {
    let value = match operation.seen() {
        Some(held) => held.map(|held| held.value),
        None => operation.action.value_written(),
    };
    (&operation.key, value)
}

/// A revision is of one write, and everybody who sees it sees that write.
fn one_write_each(operations: &[&Operation], report: &mut RevisionReport) {
    let mut of_revision: HashMap<u64, &Operation> = HashMap::new();
    for operation in operations {
        let Some(revision) = told(operation) else { continue };
        let Some(known) = of_revision.get_mut(&revision) else {
            of_revision.insert(revision, operation);
            continue;
        };
        let both_wrote = known.revision_written().is_some() && operation.revision_written().is_some();
        if both_wrote || meaning(known) != meaning(operation) {
            report.add("two writes of one shard have the same revision", known, operation);
        } else if operation.revision_written().is_some() {
            *known = operation;
        }
    }
}

/// A write has a higher revision than everything that was known before it began.
fn growing(by_call: &[&Operation], report: &mut RevisionReport) {
    let mut by_return = by_call.to_vec();
    by_return.sort_by_key(|operation| operation.returned);
    let mut ended = by_return.into_iter().peekable();
    let mut highest: Option<&Operation> = None;
    for operation in by_call {
        while let Some(before) = ended.next_if(|before| before.returned < operation.called) {
            if highest.is_none_or(|highest| told(highest) < told(before)) {
                highest = Some(before);
            }
        }
        if let Some(highest) = highest
            && operation.revision_written().is_some_and(|revision| told(highest) >= Some(revision))
        {
            report.add(
                "a write got a revision that is not above one that was known before it began",
                highest,
                operation,
            );
        }
    }
}
