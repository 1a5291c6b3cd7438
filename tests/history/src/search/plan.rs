//! Which of the operations that could come next are worth trying: rules 3 and 4 of the search.

use std::collections::HashMap;

use crate::operation::{Action, Answer, Kind, Operation};

/// No turn: the revision was not told.
const ANY_TIME: u32 = u32::MAX;

/// What is known of the operations before the search, and how many are left.
pub(crate) struct Plan {
    unknown: Vec<bool>,
    open_until: Vec<u64>,
    /// Operations that do the same and were told the same are of one group.
    group: Vec<u32>,
    /// The turn of each write whose revision was told.
    turn: Vec<u32>,
    next_turn: u32,
    answered_left: usize,
    /// Index in the list of candidates of the one of each group, and in which round that was noted.
    of_group: Vec<(u64, u32)>,
    round: u64,
}

impl Plan {
    pub(crate) fn new(operations: &[&Operation]) -> Self {
        let mut groups: HashMap<(Action, Option<&Answer>), u32> = HashMap::new();
        let group = operations.iter().map(|operation| {
            let told = operation.answer().filter(|answer| tells(operation, answer));
            let new = groups.len() as u32;
            *groups.entry((operation.action, told)).or_insert(new)
        });
        let group: Vec<u32> = group.collect();
        Self {
            unknown: operations.iter().map(|operation| operation.is_unknown()).collect(),
            open_until: operations.iter().map(|operation| operation.open_until()).collect(),
            turn: turns(operations),
            next_turn: 0,
            answered_left: operations.iter().filter(|operation| operation.is_ok()).count(),
            of_group: vec![(0, 0); groups.len()],
            group,
            round: 0,
        }
    }

    /// Operations with an answer that are not placed.
    pub(crate) fn answered_left(&self) -> usize {
        self.answered_left
    }

    pub(crate) fn put(&mut self, operation: u32) {
        self.answered_left -= usize::from(!self.unknown[operation as usize]);
        self.next_turn += u32::from(self.turn[operation as usize] != ANY_TIME);
    }

    pub(crate) fn take_back(&mut self, operation: u32) {
        self.answered_left += usize::from(!self.unknown[operation as usize]);
        self.next_turn -= u32::from(self.turn[operation as usize] != ANY_TIME);
    }

    /// Of those in `callable`: one of each group, and of the writes with turns the next; those with an answer, or those
    /// with an unknown outcome.
    pub(crate) fn candidates(&mut self, callable: impl Iterator<Item = u32>, unknown: bool) -> Vec<u32> {
        self.round += 1;
        let mut candidates: Vec<u32> = Vec::new();
        for operation in callable {
            let index = operation as usize;
            let turn = self.turn[index];
            if turn != ANY_TIME && turn != self.next_turn {
                continue;
            }
            let noted = &mut self.of_group[self.group[index] as usize];
            if noted.0 != self.round {
                *noted = (self.round, candidates.len() as u32);
                candidates.push(operation);
            } else {
                let rival = &mut candidates[noted.1 as usize];
                let key = |operation: u32| (self.unknown[operation as usize], self.open_until[operation as usize]);
                if key(operation) < key(*rival) {
                    *rival = operation;
                }
            }
        }
        candidates.retain(|operation| self.unknown[*operation as usize] == unknown);
        candidates
    }
}

/// Whether the answer to `operation` says more than "done". One that does not does what one with an unknown outcome does.
fn tells(operation: &Operation, answer: &Answer) -> bool {
    let register = operation.action.kind() == Kind::Register;
    match answer {
        Answer::Written(revision) => register && revision.is_some(),
        Answer::Deleted { existed, revision } => existed.is_some() || revision.is_some(),
        Answer::NotSwapped(_) | Answer::Held(_) | Answer::List(_) | Answer::Count(_) => true,
    }
}

/// Numbers the writes of a register whose revisions were told in the order of those.
fn turns(operations: &[&Operation]) -> Vec<u32> {
    let mut told: Vec<(u64, u32)> = (0u32..)
        .zip(operations)
        .filter(|(_, operation)| operation.action.kind() == Kind::Register)
        .filter_map(|(index, operation)| operation.revision_written().map(|revision| (revision, index)))
        .collect();
    told.sort_unstable();
    let mut turn = vec![ANY_TIME; operations.len()];
    for (position, (_, index)) in (0u32..).zip(told) {
        turn[index as usize] = position;
    }
    turn
}
