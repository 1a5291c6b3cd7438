//! Registers whose written values are all different: who wrote what was read is then known.
//!
//! After Gibbons and Korach (Testing Shared Memories, 1997). All operations on one value form a cluster: its write and
//! those that saw it. With `first_end` the earliest return and `last_start` the latest call of a cluster: if
//! `first_end < last_start` the register surely holds the value in between (a *held* zone); else all of them can be at
//! one point between `last_start` and `first_end` (a *free* zone). A history of puts and reads is linearizable exactly
//! when no read returned before its write was called, no two held zones overlap, and no free zone lies within a held
//! one. With deletes or compare-and-set these stay necessary, but are not enough.

use std::collections::HashMap;

use crate::{
    check::Decision,
    history::KeyHistory,
    operation::{Action, Answer, Expected, Operation},
    verdict::Violation,
};

/// All that happened to one value.
struct Cluster<'a> {
    /// `None` for a key that is not there yet.
    value: Option<u64>,
    write: Option<&'a Operation>,
    first_end: Edge<'a>,
    last_start: Edge<'a>,
}

/// A time, and whose. Wider than the times of operations, so that there is one before all of them.
#[derive(Clone, Copy)]
struct Edge<'a> {
    time: i128,
    of: Option<&'a Operation>,
}

/// `None` when a search is needed.
pub(crate) fn decide(key: &KeyHistory<'_>) -> Option<Decision> {
    let mut clusters: HashMap<Option<u64>, Cluster<'_>> = HashMap::new();
    let mut unique = true;
    for operation in &key.operations {
        if let Some(value) = written(operation) {
            let cluster = Cluster::of_write(value, operation);
            unique &= clusters.insert(Some(value), cluster).is_none();
        }
    }
    let removed = key.operations.iter().any(|operation| operation.action.removes());
    clusters.insert(None, Cluster::before_all());
    for operation in &key.operations {
        let Some(value) = seen(operation) else { continue };
        let Some(cluster) = clusters.get_mut(&value) else {
            return Some(Decision::Violated(nobody_wrote(key, operation, value?)));
        };
        cluster.seen_by(operation);
    }
    if !unique {
        return None;
    }
    if removed {
        clusters.remove(&None);
    }
    if let Some(violation) = contradiction(key, clusters.into_values().collect()) {
        return Some(Decision::Violated(violation));
    }
    let simple = key.operations.iter().all(|operation| {
        let told = operation.revision_written().or(operation.seen().flatten().and_then(|held| held.revision));
        told.is_none() && matches!(operation.action, Action::Read | Action::Put { .. })
    });
    simple.then_some(Decision::Linearizable)
}

/// What the operation wrote, or may have written.
fn written(operation: &Operation) -> Option<u64> {
    (operation.is_unknown() || operation.is_acknowledged_write()).then(|| operation.action.value_written()).flatten()
}

/// What the operation saw the register hold; the inner `None`: nothing.
fn seen(operation: &Operation) -> Option<Option<u64>> {
    match (operation.action, operation.answer()?) {
        (Action::CompareAndSet { expected, .. }, Answer::Written(_)) => match expected {
            Expected::Value(value) => Some(Some(value)),
            Expected::Absent => Some(None),
            Expected::Present | Expected::Revision(_) => None,
        },
        (_, Answer::Held(held) | Answer::NotSwapped(held)) => Some(held.map(|held| held.value)),
        _ => None,
    }
}

impl<'a> Cluster<'a> {
    fn of_write(value: u64, write: &'a Operation) -> Self {
        Self {
            value: Some(value),
            write: Some(write),
            first_end: Edge { time: write.open_until().into(), of: Some(write) },
            last_start: Edge { time: write.called.into(), of: Some(write) },
        }
    }

    /// The key is not there until it is written.
    fn before_all() -> Self {
        let edge = Edge { time: -1, of: None };
        Self { value: None, write: None, first_end: edge, last_start: edge }
    }

    fn seen_by(&mut self, operation: &'a Operation) {
        if i128::from(operation.returned) < self.first_end.time {
            self.first_end = Edge { time: operation.returned.into(), of: Some(operation) };
        }
        if i128::from(operation.called) > self.last_start.time {
            self.last_start = Edge { time: operation.called.into(), of: Some(operation) };
        }
    }

    fn is_held(&self) -> bool {
        self.first_end.time < self.last_start.time
    }

    /// Whether it surely happened: an unknown write that nobody saw need not have.
    fn happened(&self) -> bool {
        self.write.is_none_or(|write| write.is_ok())
            || self.first_end.of.zip(self.write).is_some_and(|(first, write)| !std::ptr::eq(first, write))
    }

    fn name(&self) -> String {
        self.value.map_or_else(|| "nothing".to_owned(), |value| value.to_string())
    }

    fn edges(&self) -> [Option<&'a Operation>; 3] {
        [self.write, self.first_end.of, self.last_start.of]
    }
}

/// The first rule that is broken.
fn contradiction(key: &KeyHistory<'_>, mut clusters: Vec<Cluster<'_>>) -> Option<Violation> {
    // The map that they come from has no order, and the same history must give the same words.
    clusters.sort_by_key(|cluster| (cluster.last_start.time, cluster.value));
    let too_early =
        |cluster: &&Cluster<'_>| cluster.write.is_some_and(|write| cluster.first_end.time < i128::from(write.called));
    if let Some(cluster) = clusters.iter().filter(too_early).min_by_key(|cluster| cluster.first_end.time) {
        let reason = format!("{} was seen before anybody began to write it", cluster.name());
        return Some(violation(key, reason, &[cluster]));
    }
    let (mut held, free): (Vec<_>, Vec<_>) = clusters.into_iter().filter(Cluster::happened).partition(Cluster::is_held);
    held.sort_by_key(|cluster| cluster.first_end.time);
    for pair in held.windows(2) {
        if let [earlier, later] = pair
            && later.first_end.time < earlier.last_start.time
        {
            let reason = format!(
                "{} was there, and later {} still or again, though each was written only once",
                later.name(),
                earlier.name()
            );
            return Some(violation(key, reason, &[earlier, later]));
        }
    }
    free.iter().find_map(|free| {
        let before = held.partition_point(|held| held.first_end.time < free.last_start.time);
        let around = held.get(before.checked_sub(1)?)?;
        let within = free.first_end.time < around.last_start.time;
        within.then(|| {
            let reason = format!(
                "{} was there before and after {}, though each was written only once",
                around.name(),
                free.name()
            );
            violation(key, reason, &[around, free])
        })
    })
}

/// Names the operations at the edges of the clusters, each once, in order of call.
fn violation(key: &KeyHistory<'_>, reason: String, clusters: &[&Cluster<'_>]) -> Violation {
    let mut edges: Vec<&Operation> = clusters.iter().flat_map(|cluster| cluster.edges()).flatten().collect();
    edges.sort_by_key(|operation| (operation.called, std::ptr::from_ref(*operation)));
    edges.dedup_by(|one, other| std::ptr::eq(*one, *other));
    Violation::between(key.key, reason, &edges)
}

fn nobody_wrote(key: &KeyHistory<'_>, reader: &Operation, value: u64) -> Violation {
    let failed: Vec<&Operation> =
        key.failed.iter().copied().filter(|failed| failed.action.value_written() == Some(value)).collect();
    let reason = match failed.is_empty() {
        true => format!("{value} was seen, which nobody wrote"),
        false => format!("{value} was seen, which was written only by what surely failed"),
    };
    Violation::between(key.key, reason, &[failed, vec![reader]].concat())
}
