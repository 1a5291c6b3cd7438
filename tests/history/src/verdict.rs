//! What a check says, as values and for people.

use std::fmt::{Display, Formatter};

use crate::operation::Operation;

/// Operations of a prefix that are printed: its last ones.
const SHOWN: usize = 10;

/// What is known of a whole history. Three-valued: that the checker gave up is neither good nor bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every key is linearizable.
    Linearizable,
    /// At least one key is not, whatever was found out about the others.
    Violated,
    /// No violation was found, but at least one key took more steps than allowed.
    Undecided,
}

/// The outcome of a check.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Keys with at least one operation.
    pub keys: u64,
    /// Operations given, of any outcome.
    pub operations: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Reads with an answer. A history without any proves nothing; see that there are.
    pub reads: u64,
    /// Writes whose outcome is unknown.
    pub unknown: u64,
    /// Keys that are not linearizable.
    pub violated: u64,
    /// The first of them, in order of key, explained; at most [`Report::EXPLAINED`].
    pub violations: Vec<Violation>,
    /// Keys that took more steps than allowed.
    pub undecided: Vec<String>,
    /// Steps taken to decide: how often a model was asked. Explaining is not counted.
    pub steps: u64,
}

impl Report {
    /// Violations that are explained; more are only counted.
    pub const EXPLAINED: usize = 8;

    /// The verdict over all keys.
    pub fn verdict(&self) -> Verdict {
        if self.violated > 0 {
            Verdict::Violated
        } else if self.undecided.is_empty() {
            Verdict::Linearizable
        } else {
            Verdict::Undecided
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { keys, operations, acknowledged, reads, unknown, steps, violated, .. } = self;
        write!(f, "{:?}: {operations} operations on {keys} keys, ", self.verdict())?;
        writeln!(f, "{acknowledged} writes acknowledged, {unknown} unknown, {reads} reads; {steps} steps")?;
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        if *violated > self.violations.len() as u64 {
            writeln!(f, "{} more keys are not linearizable", violated - self.violations.len() as u64)?;
        }
        for key in self.undecided.iter().take(Self::EXPLAINED) {
            writeln!(f, "key {key:?}: not decided within the allowed steps")?;
        }
        Ok(())
    }
}

/// Why a key is not linearizable. Only what happened up to the first answer that cannot be right is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which key.
    pub key: String,
    /// What is wrong, in a sentence.
    pub reason: String,
    /// The longest order that was found to explain answers, oldest first; empty when it was not looked for or is.
    pub placed: Vec<Operation>,
    /// The operations that contradict each other, or that cannot come next behind `placed`.
    pub stuck: Vec<Operation>,
    /// What the key holds after `placed`; empty when there is no such order.
    pub state: String,
}

impl Violation {
    pub(crate) fn between(key: &str, reason: String, stuck: &[&Operation]) -> Self {
        let stuck = stuck.iter().map(|operation| (*operation).clone()).collect();
        Self { key: key.to_owned(), reason, placed: Vec::new(), stuck, state: String::new() }
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "key {:?}: {}", self.key, self.reason)?;
        for operation in &self.stuck {
            writeln!(f, "    {operation}")?;
        }
        if self.state.is_empty() {
            return Ok(());
        }
        let left_out = self.placed.len().saturating_sub(SHOWN);
        writeln!(f, "  the longest order that explains answers ({} operations):", self.placed.len())?;
        if left_out > 0 {
            writeln!(f, "    ... {left_out} before")?;
        }
        for operation in self.placed.iter().skip(left_out) {
            writeln!(f, "    {operation}")?;
        }
        writeln!(f, "  then the key holds {}", self.state)
    }
}
