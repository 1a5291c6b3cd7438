//! A list that is only appended to.
//!
//! Every read must be the beginning of the longest one, so the order of what is in that is known, and the state is only
//! how much of it is there. Behind it nobody read, and any order will do.

use super::{Mark, Model, Notices};
use crate::{
    display::Elements,
    operation::{Action, Answer, Operation, Outcome},
};

/// The specification of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List<'a> {
    /// The longest list that was read.
    order: &'a [u64],
}

impl<'a> List<'a> {
    /// The specification for these operations.
    pub(crate) fn of(operations: &[&'a Operation]) -> Self {
        let lists = operations.iter().filter_map(|operation| match operation.answer()? {
            Answer::List(list) => Some(&list[..]),
            _ => None,
        });
        Self { order: lists.max_by_key(|list| list.len()).unwrap_or_default() }
    }

    /// Whether `list` is what is there when `length` of the order is.
    fn is(&self, list: &[u64], length: usize) -> bool {
        list.len() == length && self.order.starts_with(list)
    }
}

impl Model for List<'_> {
    /// How many elements of the order are there; one more than there are when there is anything behind.
    type State = usize;

    fn initial(&self) -> usize {
        0
    }

    fn step(&self, state: &usize, operation: &Operation) -> Option<usize> {
        match (operation.action, &operation.outcome) {
            (Action::ReadList, Outcome::Ok(Answer::List(list))) => self.is(list, *state).then_some(*state),
            (Action::Append { element }, outcome) => {
                let after = match self.order.get(*state) {
                    Some(next) if *next == element => state + 1,
                    Some(_) => return None,
                    None => self.order.len() + 1,
                };
                match outcome {
                    Outcome::Ok(Answer::List(list)) => self.is(list, after).then_some(after),
                    Outcome::Ok(Answer::Written(_)) | Outcome::Unknown => Some(after),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn mark(&self, state: &usize) -> Mark {
        Some(*state as u64)
    }

    fn notices(&self, operation: &Operation) -> Notices {
        let length = match (operation.action, operation.answer()) {
            (Action::Append { .. }, Some(Answer::List(list))) => list.len().checked_sub(1),
            (_, Some(Answer::List(list))) => Some(list.len()),
            _ => None,
        };
        length.map_or(Notices::More, |length| Notices::Mark(Some(length as u64)))
    }

    fn makes(&self, _: &Operation) -> Option<Mark> {
        None
    }

    fn describe(&self, state: &usize) -> String {
        let there = self.order.get(..*state).unwrap_or(self.order);
        let more = if *state > self.order.len() { " and more" } else { "" };
        format!("{}{more}", Elements(there))
    }
}
