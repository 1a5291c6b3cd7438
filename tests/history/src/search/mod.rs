//! The general check: a search for an order of one key's operations that explains every answer.
//!
//! After Wing and Gong (Testing and Verifying Concurrent Objects, 1993) and Lowe (Testing for Linearizability, 2017):
//! place one operation after another, each called before every one that is left returned; go back when nothing fits; and
//! never look twice at the same set of placed operations with the same state (as in Athalye's Porcupine). An operation
//! with an unknown outcome stays open for ever, and need not be placed at all.
//!
//! Six rules leave out branches. Each but the fifth turns an order that it leaves out into another that it does not:
//!
//! 1. *At once.* A read (or a condition that did not hold) whose answer fits and tells nothing new is placed at once. In
//!    any order in which it comes later it can as well come now: all that had to come before it is placed. (Not so a
//!    write of what the key holds already: it may be needed later.)
//! 2. *Noticed.* An operation with an unknown outcome is placed only if the next one notices. Otherwise the same order
//!    without it is one as well.
//! 3. *Alike.* Of operations that do the same and were told the same, the one that returned first goes first. In any
//!    order they can be exchanged.
//! 4. *Revisions.* Writes whose revisions were told come in the order of those. No other order fits a model with
//!    revisions.
//!
//! 5. *Gone.* What an answer still needs is not left when no operation can make it again. Such an order has no end.
//!
//! 6. *Wanted.* (Registers.) Operations with an unknown outcome are placed only where they lead to one that could come
//!    next and whose answer does not fit. If it fits before them, it is as well off without them.
//!
//! With 1 and 3 a counter with equal amounts takes about as many steps as it has operations, and with 4 a register whose
//! writes were told their revisions. The search is bounded; that it ran out of steps is a verdict of its own.

mod marks;
mod plan;
mod timeline;
mod visited;
mod wanted;

use marks::Marks;
use plan::Plan;
use timeline::Timeline;
use visited::Visited;
use wanted::Wanted;

use crate::{
    model::{Model, Notices},
    operation::Operation,
};

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// An order that explains all answers.
    Order,
    /// There is none. This is one that goes farthest.
    None(Farthest),
    /// The steps were used up before that was known.
    OutOfSteps,
}

/// How far answers can be explained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Farthest {
    /// Indexes of operations in an order that fits.
    pub(crate) placed: Vec<u32>,
    /// Those of the rest that would have to come next, and do not fit: each was called before any of the rest returned.
    pub(crate) stuck: Vec<u32>,
    /// What the key holds then, for people.
    pub(crate) state: String,
}

/// Whether a search looks at answers that are far ahead (rule 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// It does: quick.
    Ahead,
    /// It does not: the farthest order goes up to the first answer that does not fit, which reads better.
    Near,
}

/// Searches `operations` of one key, in order of call, at most `steps` times asking the model. Takes what it used off
/// `steps`.
pub(crate) fn search<M: Model>(model: &M, operations: &[&Operation], look: Look, steps: &mut u64) -> Found {
    Search::new(model, operations, look).run(steps)
}

/// One operation that may come next.
struct Choice<S> {
    operation: u32,
    after: S,
}

/// Which choices of a place are still to be tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Those with an answer are being tried; those with an unknown outcome come next.
    Answered,
    /// The last are being tried.
    Last,
}

/// A place in the order: what holds here, and what may come next.
struct Place<S> {
    state: S,
    /// The state before the last operation, if its outcome is unknown: it must be noticed.
    before_unknown: Option<S>,
    /// The operation that led here.
    by: Option<u32>,
    choices: std::vec::IntoIter<Choice<S>>,
    stage: Stage,
    /// Whether rule 1 made the only choice: then the next place need not be remembered.
    at_once: bool,
}

struct Search<'a, M: Model> {
    model: &'a M,
    operations: &'a [&'a Operation],
    look: Look,
    plan: Plan,
    marks: Marks,
    timeline: Timeline,
    visited: Visited<M::State>,
    places: Vec<Place<M::State>>,
    farthest: Vec<u32>,
    /// Operations with an answer that are not in `farthest`.
    least_left: usize,
}

struct OutOfSteps;

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, operations: &'a [&'a Operation], look: Look) -> Self {
        Self {
            model,
            operations,
            look,
            plan: Plan::new(operations),
            marks: Marks::new(model, operations),
            timeline: Timeline::new(operations),
            visited: Visited::new(operations),
            places: Vec::new(),
            farthest: Vec::new(),
            least_left: usize::MAX,
        }
    }

    fn run(mut self, steps: &mut u64) -> Found {
        match self.walk(steps) {
            Ok(true) => Found::Order,
            Ok(false) => Found::None(self.explain()),
            Err(OutOfSteps) => Found::OutOfSteps,
        }
    }

    /// Whether there is an order.
    fn walk(&mut self, steps: &mut u64) -> Result<bool, OutOfSteps> {
        let start = self.place(self.model.initial(), None, None, steps)?;
        self.places.push(start);
        loop {
            if self.plan.answered_left() == 0 {
                return Ok(true);
            }
            let Some(here) = self.places.last_mut() else { return Ok(false) };
            if let Some(Choice { operation, after }) = here.choices.next() {
                let unknown = self.operations[operation as usize].is_unknown();
                let before = unknown.then(|| here.state.clone());
                let at_once = here.at_once;
                self.put(operation);
                if !at_once && !self.visited.visit(&after) {
                    self.take_back(operation);
                    continue;
                }
                let next = self.place(after, before, Some(operation), steps)?;
                self.places.push(next);
            } else if here.stage == Stage::Answered {
                here.stage = Stage::Last;
                let (state, before) = (here.state.clone(), here.before_unknown.clone());
                let choices = self.choices(&state, before.as_ref(), true, steps)?;
                if let Some(here) = self.places.last_mut() {
                    here.choices = choices.into_iter();
                }
            } else {
                self.remember_farthest();
                let by = self.places.pop().and_then(|place| place.by);
                if let Some(operation) = by {
                    self.take_back(operation);
                }
            }
        }
    }

    fn put(&mut self, operation: u32) {
        self.timeline.remove(operation);
        self.plan.put(operation);
        self.marks.put(operation);
        self.visited.put(operation);
    }

    fn take_back(&mut self, operation: u32) {
        self.visited.take_back(operation);
        self.marks.take_back(operation);
        self.plan.take_back(operation);
        self.timeline.restore(operation);
    }

    /// A new place at the end of the order.
    fn place(
        &mut self,
        state: M::State,
        before_unknown: Option<M::State>,
        by: Option<u32>,
        steps: &mut u64,
    ) -> Result<Place<M::State>, OutOfSteps> {
        let choices = self.choices(&state, before_unknown.as_ref(), false, steps)?;
        let at_once = matches!(&choices[..], [only] if self.is_at_once(only, &state));
        let stage = if at_once { Stage::Last } else { Stage::Answered };
        Ok(Place { state, before_unknown, by, choices: choices.into_iter(), stage, at_once })
    }

    /// What may come next: of the operations with an answer, or of those with an unknown outcome.
    fn choices(
        &mut self,
        state: &M::State,
        before_unknown: Option<&M::State>,
        unknown: bool,
        steps: &mut u64,
    ) -> Result<Vec<Choice<M::State>>, OutOfSteps> {
        let mut choices = Vec::new();
        let mut candidates = self.plan.candidates(self.timeline.callable(), unknown);
        if unknown {
            self.keep_wanted(state, before_unknown.is_some(), &mut candidates, steps)?;
        }
        for operation in candidates {
            let what = self.operations[operation as usize];
            *steps = steps.checked_sub(1).ok_or(OutOfSteps)?;
            let Some(after) = self.model.step(state, what) else { continue };
            let choice = Choice { operation, after };
            if self.is_at_once(&choice, state) {
                return Ok(vec![choice]);
            }
            let not_noticed = before_unknown
                .and_then(|before| self.model.step(before, what))
                .is_some_and(|without| self.model.covers(&without, &choice.after));
            let useless = unknown && self.model.covers(state, &choice.after);
            let gone = self.look == Look::Ahead && self.is_gone(state, &choice);
            if !not_noticed && !useless && !gone {
                choices.push(choice);
            }
        }
        Ok(choices)
    }

    /// Leaves those of `unknown` that rule 6 allows, and behind another of them those that can notice it.
    fn keep_wanted(
        &mut self,
        state: &M::State,
        must_notice: bool,
        unknown: &mut Vec<u32>,
        steps: &mut u64,
    ) -> Result<(), OutOfSteps> {
        let mut wanted = Wanted::default();
        for operation in self.plan.candidates(self.timeline.callable(), false) {
            *steps = steps.checked_sub(1).ok_or(OutOfSteps)?;
            let what = self.operations[operation as usize];
            if self.model.step(state, what).is_none() {
                wanted.add(self.model.notices(what));
            }
        }
        let operations = self.operations;
        wanted.add_makers(self.model, unknown.iter().map(|operation| operations[*operation as usize]));
        unknown.retain(|operation| {
            let what = operations[*operation as usize];
            wanted.is_made_by(self.model, what) && !(must_notice && self.model.notices(what) == Notices::Nothing)
        });
        Ok(())
    }

    /// Whether rule 1 places it.
    fn is_at_once(&self, choice: &Choice<M::State>, state: &M::State) -> bool {
        let operation = self.operations[choice.operation as usize];
        operation.is_ok() && !operation.is_acknowledged_write() && choice.after == *state
    }

    /// Whether rule 5 forbids it.
    fn is_gone(&self, state: &M::State, choice: &Choice<M::State>) -> bool {
        let mark = self.model.mark(state);
        mark != self.model.mark(&choice.after) && self.marks.would_be_missed(mark, choice.operation)
    }

    fn remember_farthest(&mut self) {
        if self.plan.answered_left() < self.least_left {
            self.least_left = self.plan.answered_left();
            self.farthest = self.places.iter().filter_map(|place| place.by).collect();
            while self.farthest.pop_if(|last| self.operations[*last as usize].is_unknown()).is_some() {}
        }
    }

    fn explain(mut self) -> Farthest {
        let mut state = self.model.initial();
        for operation in &self.farthest {
            self.timeline.remove(*operation);
            if let Some(after) = self.model.step(&state, self.operations[*operation as usize]) {
                state = after;
            }
        }
        let answered = |operation: &u32| self.operations[*operation as usize].is_ok();
        let stuck = self.timeline.callable().filter(answered).collect();
        Farthest { placed: self.farthest, stuck, state: self.model.describe(&state) }
    }
}
