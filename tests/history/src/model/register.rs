//! A register with revisions: read, put, delete, compare-and-set.
//!
//! Revisions of one key only grow. Where one was not told, the state keeps the smallest that it can be.

use super::{Mark, Model, Notices};
use crate::operation::{Action, Answer, Change, Expected, Held, Operation, Outcome};

/// The specification of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Register {
    /// Whether any operation of the key tells a revision. If none does they are left out of the state, or each write
    /// would make a state of its own.
    pub(crate) revisions: bool,
}

/// What the key holds, or that it is not there, and the revision of the last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    value: Option<u64>,
    revision: Revision,
}

/// A revision that may not be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Revision {
    /// The smallest that it can be.
    least: u64,
    /// Whether it is exactly that.
    exact: bool,
}

impl Register {
    /// The specification for these operations.
    pub(crate) fn of(operations: &[&Operation]) -> Self {
        let tells = |operation: &&Operation| {
            operation.revision_written().is_some()
                || operation.seen().flatten().is_some_and(|held| held.revision.is_some())
                || matches!(operation.action, Action::CompareAndSet { expected: Expected::Revision(_), .. })
        };
        Self { revisions: operations.iter().any(tells) }
    }

    fn changed(self, state: State, value: Option<u64>, told: Option<u64>) -> Option<State> {
        let revision = match told {
            _ if !self.revisions => state.revision,
            Some(told) if told > state.revision.least => Revision { least: told, exact: true },
            Some(_) => return None,
            None => Revision { least: state.revision.least.saturating_add(1), exact: false },
        };
        Some(State { value, revision })
    }
}

impl State {
    /// Narrowed down by what was seen; `None` when it cannot have been seen here.
    fn seen(self, held: Option<Held>) -> Option<Self> {
        match held {
            None => self.value.is_none().then_some(self),
            Some(held) if self.value != Some(held.value) => None,
            Some(Held { revision: None, .. }) => Some(self),
            Some(Held { revision: Some(told), .. }) => self.at(told),
        }
    }

    /// Narrowed down to revision `told` of the last change.
    fn at(self, told: u64) -> Option<Self> {
        let Revision { least, exact } = self.revision;
        let fits = if exact { told == least } else { told >= least };
        fits.then_some(Self { revision: Revision { least: told, exact: true }, ..self })
    }

    /// Narrowed down by a condition that held.
    fn meeting(self, expected: Expected) -> Option<Self> {
        match expected {
            Expected::Absent => self.value.is_none().then_some(self),
            Expected::Present => self.value.is_some().then_some(self),
            Expected::Value(value) => (self.value == Some(value)).then_some(self),
            Expected::Revision(revision) => self.value.is_some().then(|| self.at(revision)).flatten(),
        }
    }

    /// Whether the condition holds. A history tells each revision that did not meet a condition on it.
    fn surely_meets(self, expected: Expected) -> bool {
        match expected {
            Expected::Revision(revision) => {
                self.value.is_some() && self.revision == Revision { least: revision, exact: true }
            }
            _ => self.meeting(expected).is_some(),
        }
    }
}

impl Model for Register {
    type State = State;

    fn initial(&self) -> State {
        State { value: None, revision: Revision { least: 0, exact: true } }
    }

    fn step(&self, state: &State, operation: &Operation) -> Option<State> {
        let told = operation.revision_written();
        match (operation.action, &operation.outcome) {
            (Action::Put { value }, Outcome::Ok(Answer::Written(_)) | Outcome::Unknown) => {
                self.changed(*state, Some(value), told)
            }
            (Action::Delete, Outcome::Ok(Answer::Deleted { existed, .. })) => {
                let possible = existed.is_none_or(|existed| existed == state.value.is_some());
                possible.then(|| self.changed(*state, None, told)).flatten()
            }
            (Action::Delete, Outcome::Unknown) => self.changed(*state, None, None),
            (Action::CompareAndSet { expected, change }, Outcome::Ok(Answer::Written(_)) | Outcome::Unknown) => {
                let value = match change {
                    Change::Put(value) => Some(value),
                    Change::Delete => None,
                };
                self.changed(state.meeting(expected)?, value, told)
            }
            (Action::CompareAndSet { expected, .. }, Outcome::Ok(Answer::NotSwapped(held))) => {
                state.seen(*held).filter(|state| !state.surely_meets(expected))
            }
            (Action::Read, Outcome::Ok(Answer::Held(held))) => state.seen(*held),
            _ => None,
        }
    }

    fn covers(&self, wide: &State, narrow: &State) -> bool {
        wide.value == narrow.value
            && (wide.revision == narrow.revision
                || (!wide.revision.exact && wide.revision.least <= narrow.revision.least))
    }

    fn mark(&self, state: &State) -> Mark {
        state.value
    }

    fn notices(&self, operation: &Operation) -> Notices {
        match (operation.action, operation.answer()) {
            (_, Some(Answer::Held(held) | Answer::NotSwapped(held))) => Notices::Mark(held.map(|held| held.value)),
            (Action::CompareAndSet { expected: Expected::Value(value), .. }, _) => Notices::Mark(Some(value)),
            (Action::CompareAndSet { expected: Expected::Absent, .. }, _) => Notices::Mark(None),
            (Action::CompareAndSet { .. }, _) => Notices::More,
            (_, Some(Answer::Deleted { existed: Some(false), .. })) => Notices::Mark(None),
            (_, Some(Answer::Deleted { existed: Some(true), .. })) => Notices::More,
            _ => Notices::Nothing,
        }
    }

    fn makes(&self, operation: &Operation) -> Option<Mark> {
        let happens = operation.is_unknown() || operation.is_acknowledged_write();
        let value = operation.action.value_written();
        (happens && (value.is_some() || operation.action.removes())).then_some(value)
    }

    fn describe(&self, state: &State) -> String {
        let held = state.value.map_or_else(|| "nothing".to_owned(), |value| value.to_string());
        match state.revision {
            _ if !self.revisions => held,
            Revision { least, exact: true } => format!("{held} (revision {least})"),
            Revision { least, exact: false } => format!("{held} (revision {least} or above)"),
        }
    }
}
