//! What a key does when its operations come one after another. The search tries orders; a model says which answers an
//! order allows.

pub(crate) mod counter;
pub(crate) mod list;
pub(crate) mod register;

use std::hash::Hash;

use crate::operation::Operation;

/// A part of a state that tells much: the value of a register or that there is none, the length of a list, a sum.
pub(crate) type Mark = Option<u64>;

/// What an operation notices of the state before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notices {
    /// Nothing: it can always come.
    Nothing,
    /// It needs this mark.
    Mark(Mark),
    /// Something that is more, or less, than a mark.
    More,
}

/// A sequential specification.
///
/// A state may stand for several real ones, where something was not told (the revision of a write whose outcome is
/// unknown); later answers narrow it down. A state must allow exactly what at least one of the real ones allows.
pub(crate) trait Model {
    /// What the key holds.
    type State: Clone + Eq + Hash;

    /// Before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after `operation`, or `None` when it cannot have this answer here. Of an operation with an unknown
    /// outcome: the state after it had its effect, or `None` when it would have had none.
    fn step(&self, state: &Self::State, operation: &Operation) -> Option<Self::State>;

    /// Whether all that can follow `narrow` can also follow `wide`.
    fn covers(&self, wide: &Self::State, narrow: &Self::State) -> bool {
        wide == narrow
    }

    /// What of a state operations need and make.
    fn mark(&self, state: &Self::State) -> Mark;

    /// What `operation` notices of the state before it: whether it can come, and how, depends on that only.
    fn notices(&self, operation: &Operation) -> Notices;

    /// The mark of the state after `operation`, when it is always the same. A mark that no operation makes must never
    /// come back once it is gone.
    fn makes(&self, operation: &Operation) -> Option<Mark>;

    /// What the key holds, for people.
    fn describe(&self, state: &Self::State) -> String;
}
