//! Histories for tests: written by hand, or made from a run in which one operation came after another.

use proptest::prelude::*;

use crate::{Action, Answer, Change, Expected, Held, History, Kind, Operation, Outcome};

/// An operation on key "k" by a client, from one time to another.
pub(crate) fn op(client: u32, called: u64, returned: u64, action: Action, outcome: Outcome) -> Operation {
    Operation { client, key: "k".to_owned(), called, returned, action, outcome }
}

pub(crate) fn put(value: u64) -> Action {
    Action::Put { value }
}

pub(crate) fn cas(expected: Expected, value: u64) -> Action {
    Action::CompareAndSet { expected, change: Change::Put(value) }
}

pub(crate) fn append(element: u64) -> Action {
    Action::Append { element }
}

pub(crate) fn add(amount: u64) -> Action {
    Action::Add { amount }
}

/// Done, at a revision that was not told.
pub(crate) fn done() -> Outcome {
    Outcome::Ok(Answer::Written(None))
}

pub(crate) fn done_at(revision: u64) -> Outcome {
    Outcome::Ok(Answer::Written(Some(revision)))
}

pub(crate) fn deleted(existed: bool) -> Outcome {
    Outcome::Ok(Answer::Deleted { existed: Some(existed), revision: None })
}

pub(crate) fn saw(value: u64) -> Outcome {
    Outcome::Ok(Answer::Held(Some(Held { value, revision: None })))
}

pub(crate) fn saw_at(value: u64, revision: u64) -> Outcome {
    Outcome::Ok(Answer::Held(Some(Held { value, revision: Some(revision) })))
}

pub(crate) fn saw_nothing() -> Outcome {
    Outcome::Ok(Answer::Held(None))
}

pub(crate) fn list(elements: &[u64]) -> Outcome {
    Outcome::Ok(Answer::List(elements.to_vec()))
}

pub(crate) fn count(sum: u64) -> Outcome {
    Outcome::Ok(Answer::Count(sum))
}

pub(crate) fn history(operations: Vec<Operation>) -> History {
    History { operations, ..History::default() }
}

/// One operation of a made-up run. Operation `i` takes effect at time `20 + 4 * i`.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Which action, and with which condition.
    what: u8,
    /// The value, where they need not differ; the amount.
    value: u64,
    /// How long before it takes effect it is called, and how long after it returns.
    before: u64,
    after: u64,
    fate: Fate,
    /// Whether its revision, the list or the sum is told.
    told: bool,
    /// Changes the answer by this much.
    twist: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Known,
    UnknownDone,
    UnknownNotDone,
    Failed,
}

/// How a run is made of specs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) kind: Kind,
    /// All values written differ.
    pub(crate) unique: bool,
    /// Revisions, lists and sums are told by the writes that are to tell.
    pub(crate) tell: bool,
}

pub(crate) fn any_run() -> impl Strategy<Value = Run> {
    let kind = prop_oneof![3 => Just(Kind::Register), 1 => Just(Kind::List), 1 => Just(Kind::Counter)];
    (kind, any::<bool>(), any::<bool>()).prop_map(|(kind, unique, tell)| Run { kind, unique, tell })
}

/// At least one operation, at most `most`; with `twists`, a few of their answers are changed.
pub(crate) fn any_specs(most: usize, twists: bool) -> impl Strategy<Value = Vec<Spec>> {
    let fate = prop_oneof![
        7 => Just(Fate::Known),
        2 => Just(Fate::UnknownDone),
        1 => Just(Fate::UnknownNotDone),
        1 => Just(Fate::Failed)
    ];
    let twist = proptest::option::weighted(0.15, 0u64..8).prop_map(move |twist| twist.filter(|_| twists));
    let spec = (0u8..12, 1u64..4, 0u64..20, 0u64..20, fate, any::<bool>(), twist).prop_map(
        |(what, value, before, after, fate, told, twist)| Spec { what, value, before, after, fate, told, twist },
    );
    proptest::collection::vec(spec, 1..=most)
}

/// What the key holds while the run is made.
#[derive(Default)]
struct World {
    value: Option<u64>,
    revision: u64,
    list: Vec<u64>,
    sum: u64,
}

/// Plays the run. Linearizable, but for twists.
pub(crate) fn play(run: Run, specs: &[Spec]) -> Vec<Operation> {
    let mut world = World::default();
    (0u64..).zip(specs).map(|(index, spec)| play_one(run, &mut world, index, spec)).collect()
}

fn play_one(run: Run, world: &mut World, index: u64, spec: &Spec) -> Operation {
    let value = if run.unique { index + 1 } else { spec.value };
    let action = action(run.kind, world, spec, value);
    let at = 20 + 4 * index;
    let told = run.tell && spec.told;
    let outcome = match spec.fate {
        Fate::Known => Outcome::Ok(twisted(world.apply(action, told), spec.twist)),
        Fate::UnknownDone => {
            world.apply(action, false);
            Outcome::Unknown
        }
        Fate::UnknownNotDone => Outcome::Unknown,
        Fate::Failed => Outcome::Failed,
    };
    let called = at - spec.before;
    // Who gives up may do so before the operation takes effect.
    let returned = if outcome == Outcome::Unknown { called } else { at + spec.after };
    op(index as u32 % 5, called, returned, action, outcome)
}

fn action(kind: Kind, world: &World, spec: &Spec, value: u64) -> Action {
    let expecting = |expected| Action::CompareAndSet { expected, change: Change::Put(value) };
    match (kind, spec.what) {
        (Kind::Register, 0..4) => Action::Read,
        (Kind::Register, 4..7) => put(value),
        (Kind::Register, 7) => Action::Delete,
        (Kind::Register, 8) => expecting(Expected::Value(world.value.unwrap_or(spec.value))),
        (Kind::Register, 9) => expecting(Expected::Revision(world.revision.max(spec.value))),
        (Kind::Register, 10) => expecting(if spec.value == 1 { Expected::Absent } else { Expected::Present }),
        (Kind::Register, _) => Action::CompareAndSet { expected: Expected::Value(spec.value), change: Change::Delete },
        (Kind::List, 0..5) => Action::ReadList,
        (Kind::List, _) => append(value),
        (Kind::Counter, 0..5) => Action::ReadCounter,
        (Kind::Counter, _) => add(spec.value),
    }
}

impl World {
    fn held(&self, told: bool) -> Option<Held> {
        self.value.map(|value| Held { value, revision: told.then_some(self.revision) })
    }

    fn meets(&self, expected: Expected) -> bool {
        match expected {
            Expected::Absent => self.value.is_none(),
            Expected::Present => self.value.is_some(),
            Expected::Value(value) => self.value == Some(value),
            Expected::Revision(revision) => self.value.is_some() && self.revision == revision,
        }
    }

    fn write(&mut self, value: Option<u64>, told: bool) -> Option<u64> {
        self.value = value;
        self.revision += 1;
        told.then_some(self.revision)
    }

    fn apply(&mut self, action: Action, told: bool) -> Answer {
        match action {
            Action::Read => Answer::Held(self.held(told)),
            Action::Put { value } => Answer::Written(self.write(Some(value), told)),
            Action::Delete => {
                let existed = Some(self.value.is_some());
                Answer::Deleted { existed, revision: self.write(None, told) }
            }
            Action::CompareAndSet { expected, .. } if !self.meets(expected) => {
                Answer::NotSwapped(self.held(told || matches!(expected, Expected::Revision(_))))
            }
            Action::CompareAndSet { change: Change::Put(value), .. } => Answer::Written(self.write(Some(value), told)),
            Action::CompareAndSet { change: Change::Delete, .. } => Answer::Written(self.write(None, told)),
            Action::Append { element } => {
                self.list.push(element);
                if told { Answer::List(self.list.clone()) } else { Answer::Written(None) }
            }
            Action::ReadList => Answer::List(self.list.clone()),
            Action::Add { amount } => {
                self.sum += amount;
                if told { Answer::Count(self.sum) } else { Answer::Written(None) }
            }
            Action::ReadCounter => Answer::Count(self.sum),
        }
    }
}

/// Another answer of the same kind. It may well be right too.
fn twisted(answer: Answer, twist: Option<u64>) -> Answer {
    let Some(twist) = twist else { return answer };
    let held = |held: Option<Held>| match held {
        Some(held) if twist < 4 => Some(Held { value: twist, ..held }),
        Some(Held { revision: Some(revision), value }) if twist < 6 => {
            Some(Held { value, revision: Some(revision + twist - 4) })
        }
        Some(_) => None,
        None => Some(Held { value: twist, revision: Some(twist) }),
    };
    match answer {
        Answer::Held(was) => Answer::Held(held(was)),
        Answer::NotSwapped(was) => Answer::NotSwapped(held(was)),
        Answer::Written(revision) => Answer::Written(revision.map(|_| twist)),
        Answer::Deleted { existed, revision } if twist < 4 => {
            Answer::Deleted { existed: existed.map(|existed| !existed), revision }
        }
        Answer::Deleted { existed, revision } => Answer::Deleted { existed, revision: revision.map(|_| twist) },
        Answer::List(mut list) => {
            match twist {
                0..3 => drop(list.pop()),
                3 => list.push(1),
                4 => list.reverse(),
                _ => list.truncate(1),
            }
            Answer::List(list)
        }
        Answer::Count(sum) => Answer::Count((sum + twist).saturating_sub(3)),
    }
}
