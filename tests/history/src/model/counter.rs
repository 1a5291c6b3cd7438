//! A counter that is only added to.

use super::{Mark, Model};
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

    fn needs(&self, operation: &Operation) -> Option<Mark> {
        match (operation.action, operation.answer()?) {
            (Action::Add { amount }, Answer::Count(count)) => Some(Some(count.checked_sub(amount)?)),
            (_, Answer::Count(count)) => Some(Some(*count)),
            _ => None,
        }
    }

    fn makes(&self, _: &Operation) -> Option<Mark> {
        None
    }

    fn describe(&self, state: &u64) -> String {
        state.to_string()
    }
}
