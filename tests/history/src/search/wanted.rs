//! Which operations with an unknown outcome are worth trying now: rule 6 of the search.
//!
//! Some of them may come one behind another, each noticed by the next, and at last one with an answer. That one could
//! come next already, but for its answer: operations with an unknown outcome hold nobody up. So it is known what it
//! needs, who can make that, what those need in turn; and these are few.

use crate::{
    model::{Mark, Model, Notices},
    operation::Operation,
};

/// The marks that lead to an answer that does not fit yet.
#[derive(Default)]
pub(crate) struct Wanted {
    marks: Vec<Mark>,
    /// Something is wanted that no mark tells.
    anything: bool,
}

impl Wanted {
    /// Adds what an operation needs.
    pub(crate) fn add(&mut self, notices: Notices) {
        match notices {
            Notices::Nothing => {}
            Notices::Mark(mark) if self.marks.contains(&mark) => {}
            Notices::Mark(mark) => self.marks.push(mark),
            Notices::More => self.anything = true,
        }
    }

    /// Adds what those of `unknown` need that make what is wanted, and so on.
    pub(crate) fn add_makers<'a, M: Model>(&mut self, model: &M, unknown: impl Iterator<Item = &'a Operation> + Clone) {
        let mut known = None;
        while !self.anything && known != Some(self.marks.len()) {
            known = Some(self.marks.len());
            for operation in unknown.clone() {
                if self.is_made_by(model, operation) {
                    self.add(model.notices(operation));
                }
            }
        }
    }

    /// Whether the operation makes what is wanted; also when what it makes is not known.
    pub(crate) fn is_made_by<M: Model>(&self, model: &M, operation: &Operation) -> bool {
        self.anything || model.makes(operation).is_none_or(|mark| self.marks.contains(&mark))
    }
}
