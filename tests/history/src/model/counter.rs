//! A counter that is only added to.

use super::{Mark, Model, Notices};
use crate::operation::{Action, Answer, Operation, Outcome};

/// The specification of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter;

impl Model for Counter {
    type State = u64;

    fn initial(&self) -> u64 {
        0
    }

    fn step(&self, state: &u64, operation: &Operation) -> Option<u64> {
        match (operation.action, &operation.outcome) {
            (Action::ReadCounter, Outcome::Ok(Answer::Count(count))) => (count == state).then_some(*state),
            (Action::Add { amount }, outcome) => {
                let after = state.checked_add(amount)?;
                match outcome {
                    Outcome::Ok(Answer::Count(count)) => (*count == after).then_some(after),
                    Outcome::Ok(Answer::Written(_)) | Outcome::Unknown => Some(after),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn mark(&self, state: &u64) -> Mark {
        Some(*state)
    }

    fn notices(&self, operation: &Operation) -> Notices {
        match (operation.action, operation.answer()) {
            (Action::Add { amount }, Some(Answer::Count(count))) => {
                count.checked_sub(amount).map_or(Notices::More, |before| Notices::Mark(Some(before)))
            }
            (_, Some(Answer::Count(count))) => Notices::Mark(Some(*count)),
            _ => Notices::More,
        }
    }

    fn makes(&self, _: &Operation) -> Option<Mark> {
        None
    }

    fn describe(&self, state: &u64) -> String {
        state.to_string()
    }
}
