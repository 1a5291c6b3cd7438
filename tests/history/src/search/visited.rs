//! Which sets of placed operations were seen with which state.
//!
//! Operations are numbered in order of return. All but a few of the first ones are placed, and none of the later ones; so
//! only the words of the bit set between the two are kept, and what is kept does not grow with the history.

use std::{collections::HashSet, hash::Hash};

use crate::operation::Operation;

const WORD: u32 = 64;

/// The set of placed operations now, and all that were seen.
pub(crate) struct Visited<S> {
    /// Number of each operation: those with an answer first, in order of return.
    number: Vec<u32>,
    placed: Vec<u64>,
    /// Every word before this one is full.
    full: usize,
    seen: HashSet<(Box<[u64]>, S)>,
}

impl<S: Clone + Eq + Hash> Visited<S> {
    pub(crate) fn new(operations: &[&Operation]) -> Self {
        let mut order: Vec<u32> = (0..operations.len() as u32).collect();
        order.sort_by_key(|index| {
            let operation = operations[*index as usize];
            (operation.is_unknown(), operation.open_until(), operation.called)
        });
        let mut number = vec![0; operations.len()];
        for (position, index) in (0u32..).zip(order) {
            number[index as usize] = position;
        }
        let placed = vec![0; operations.len().div_ceil(WORD as usize)];
        Self { number, placed, full: 0, seen: HashSet::new() }
    }

    pub(crate) fn put(&mut self, operation: u32) {
        let number = self.number[operation as usize];
        self.placed[(number / WORD) as usize] |= 1 << (number % WORD);
        while self.placed.get(self.full) == Some(&u64::MAX) {
            self.full += 1;
        }
    }

    pub(crate) fn take_back(&mut self, operation: u32) {
        let number = self.number[operation as usize];
        let word = (number / WORD) as usize;
        self.placed[word] &= !(1 << (number % WORD));
        self.full = self.full.min(word);
    }

    /// Whether this set with `state` is new; remembers it.
    pub(crate) fn visit(&mut self, state: &S) -> bool {
        let mut words = Vec::with_capacity(4);
        words.push(self.full as u64);
        for (position, word) in self.placed.iter().enumerate().skip(self.full).filter(|(_, word)| **word != 0) {
            words.push(position as u64);
            words.push(*word);
        }
        self.seen.insert((words.into_boxed_slice(), state.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{add, done, op};

    #[test]
    fn sets_are_told_apart_also_when_whole_words_were_full_before() {
        let operations: Vec<Operation> = (0..200).map(|index| op(1, index, index, add(1), done())).collect();
        let operations: Vec<&Operation> = operations.iter().collect();
        let mut visited = Visited::new(&operations);
        (0..130).for_each(|index| visited.put(index));
        assert!(visited.visit(&'s'));
        assert!(!visited.visit(&'s'));
        assert!(visited.visit(&'t'));
        // One hole in each of the full words in turn, and the set as it was.
        for hole in [3, 70, 128] {
            visited.take_back(hole);
            assert!(visited.visit(&'s'), "without {hole}");
            visited.put(hole);
            assert!(!visited.visit(&'s'));
        }
        visited.take_back(3);
        assert!(!visited.visit(&'s'));
        visited.take_back(4);
        assert!(visited.visit(&'s'));
    }
}
