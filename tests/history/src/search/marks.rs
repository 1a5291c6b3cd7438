//! What is still needed of a state, and who can still make it: rule 5 of the search.

use std::collections::HashMap;

use crate::{
    model::{Mark, Model, Notices},
    operation::Operation,
};

/// Counts of the operations that are not placed.
pub(crate) struct Marks {
    left: HashMap<Mark, Left>,
    needs: Vec<Option<Mark>>,
    makes: Vec<Option<Mark>>,
}

#[derive(Default)]
struct Left {
    needers: u32,
    makers: u32,
}

impl Marks {
    pub(crate) fn new<M: Model>(model: &M, operations: &[&Operation]) -> Self {
        let needs = |operation: &&Operation| match model.notices(operation) {
            Notices::Mark(mark) if operation.is_ok() => Some(mark),
            _ => None,
        };
        let needs = operations.iter().map(needs).collect();
        let makes = operations.iter().map(|operation| model.makes(operation)).collect();
        let mut marks = Self { left: HashMap::new(), needs, makes };
        for index in 0..operations.len() as u32 {
            marks.take_back(index);
        }
        marks
    }

    pub(crate) fn put(&mut self, operation: u32) {
        self.change(operation, |count| *count -= 1);
    }

    pub(crate) fn take_back(&mut self, operation: u32) {
        self.change(operation, |count| *count += 1);
    }

    /// Whether `mark` must not be left with `operation`: others need it, and none can make it again.
    pub(crate) fn would_be_missed(&self, mark: Mark, operation: u32) -> bool {
        let own = u32::from(self.needs[operation as usize] == Some(mark));
        self.left.get(&mark).is_some_and(|left| left.needers > own && left.makers == 0)
    }

    fn change(&mut self, operation: u32, by: impl Fn(&mut u32)) {
        if let Some(mark) = self.needs[operation as usize] {
            by(&mut self.left.entry(mark).or_default().needers);
        }
        if let Some(mark) = self.makes[operation as usize] {
            by(&mut self.left.entry(mark).or_default().makers);
        }
    }
}
