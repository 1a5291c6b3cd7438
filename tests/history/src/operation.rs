//! One operation of a history: who asked what, when, and what came back.
//!
//! It knows the kinds of operations of the data API, and nothing of how they are sent or checked.

use serde::{Deserialize, Serialize};

/// A value read that no writer can have written, such as bytes that are not a number. Never written; so each read of it
/// is a violation.
pub const UNREADABLE: u64 = u64::MAX;

/// One operation of one client on one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who asked. Only named in explanations; one client may have many operations in flight.
    pub client: u32,
    /// Which key. Keys are checked one by one, because linearizability is local (Herlihy and Wing, 1990).
    pub key: String,
    /// When it was sent: ns of a monotonic clock, or ticks of a simulation. Taken before the request leaves.
    pub called: u64,
    /// When the answer was there, or the client gave up; at least `called`. Two operations of which one returns at the
    /// very time at which the other is called count as concurrent.
    pub returned: u64,
    /// What was asked.
    pub action: Action,
    /// What came back.
    pub outcome: Outcome,
}

/// What was asked. A key is used in one way only: as a register, as a list, or as a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Register: a linearizable read.
    Read,
    /// Register: a write without a condition.
    Put {
        /// What is written. Best unlike any other value of this key: then more is found, and faster.
        value: u64,
    },
    /// Register: a delete without a condition.
    Delete,
    /// Register: a write with a condition.
    CompareAndSet {
        /// What must hold.
        expected: Expected,
        /// What is done then.
        change: Change,
    },
    /// List: adds one element at the end.
    Append {
        /// The element, best unlike any other of this key.
        element: u64,
    },
    /// List: reads all of it.
    ReadList,
    /// Counter: adds.
    Add {
        /// How much, from 1 up. Equal amounts are checked fastest.
        amount: u64,
    },
    /// Counter: reads it.
    ReadCounter,
}

/// The condition of a compare-and-set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// The key is not there.
    Absent,
    /// The key is there.
    Present,
    /// The key is there with this value.
    Value(u64),
    /// The key is there, last written at this revision.
    Revision(u64),
}

/// What a compare-and-set does when its condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Writes this value.
    Put(u64),
    /// Deletes the key.
    Delete,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done, and this was answered.
    Ok(Answer),
    /// It surely was not done, and never will be.
    Failed,
    /// It may have been done, may still be done at any later time, or never. At most once.
    Unknown,
}

/// The answer to an operation that was done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To Put, Append, Add, and to a CompareAndSet that did its change: the revision of this write, where it is known.
    Written(Option<u64>),
    /// To Delete.
    Deleted {
        /// Whether the key was there, where it is known.
        existed: Option<bool>,
        /// The revision of this write, where it is known.
        revision: Option<u64>,
    },
    /// To a CompareAndSet whose condition did not hold: what the key holds; with its revision, if the condition was on
    /// that.
    NotSwapped(Option<Held>),
    /// To Read: what the key holds, or that it is not there.
    Held(Option<Held>),
    /// To ReadList: all elements. To Append, instead of Written: all elements just after it.
    List(Vec<u64>),
    /// To ReadCounter: the sum. To Add, instead of Written: the sum just after it.
    Count(u64),
}

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Held {
    /// The value.
    pub value: u64,
    /// The revision of the write that made it, where it is known.
    pub revision: Option<u64>,
}

/// How a key is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads, writes, deletes, compare-and-set.
    Register,
    /// Appends, and reads of the whole list.
    List,
    /// Adds, and reads of the sum.
    Counter,
}

impl Action {
    /// How a key must be used for this action.
    pub fn kind(self) -> Kind {
        match self {
            Self::Read | Self::Put { .. } | Self::Delete | Self::CompareAndSet { .. } => Kind::Register,
            Self::Append { .. } | Self::ReadList => Kind::List,
            Self::Add { .. } | Self::ReadCounter => Kind::Counter,
        }
    }

    /// Whether it never changes anything.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Read | Self::ReadList | Self::ReadCounter)
    }

    /// The register value that this action writes when it is done.
    pub fn value_written(self) -> Option<u64> {
        match self {
            Self::Put { value } | Self::CompareAndSet { change: Change::Put(value), .. } => Some(value),
            _ => None,
        }
    }

    /// Whether it removes a register when it is done.
    pub fn removes(self) -> bool {
        matches!(self, Self::Delete | Self::CompareAndSet { change: Change::Delete, .. })
    }

    /// Whether `answer` is one that this action can have.
    pub fn fits(self, answer: &Answer) -> bool {
        matches!(
            (self, answer),
            (Self::Read, Answer::Held(_))
                | (Self::Put { .. } | Self::CompareAndSet { .. }, Answer::Written(_))
                | (Self::Append { .. } | Self::Add { .. }, Answer::Written(_))
                | (Self::Delete, Answer::Deleted { .. })
                | (Self::CompareAndSet { .. }, Answer::NotSwapped(_))
                | (Self::Append { .. } | Self::ReadList, Answer::List(_))
                | (Self::Add { .. } | Self::ReadCounter, Answer::Count(_))
        )
    }
}

impl Operation {
    /// The answer, when it was done.
    pub fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Ok(answer) => Some(answer),
            Outcome::Failed | Outcome::Unknown => None,
        }
    }

    /// Whether it surely was done.
    pub fn is_ok(&self) -> bool {
        matches!(self.outcome, Outcome::Ok(_))
    }

    /// Whether it may or may not have been done.
    pub fn is_unknown(&self) -> bool {
        self.outcome == Outcome::Unknown
    }

    /// Whether it was acknowledged and changed something: a failed condition changed nothing.
    pub fn is_acknowledged_write(&self) -> bool {
        !self.action.is_read() && self.answer().is_some_and(|answer| !matches!(answer, Answer::NotSwapped(_)))
    }

    /// Until when it may take effect: for ever when its outcome is unknown.
    pub fn open_until(&self) -> u64 {
        if self.is_unknown() { u64::MAX } else { self.returned }
    }

    /// The revision of this write, when it was done and told.
    pub fn revision_written(&self) -> Option<u64> {
        match self.answer()? {
            Answer::Written(revision) | Answer::Deleted { revision, .. } => *revision,
            Answer::NotSwapped(_) | Answer::Held(_) | Answer::List(_) | Answer::Count(_) => None,
        }
    }

    /// What this operation saw a register hold: `Some(None)` when it saw that it was not there.
    pub fn seen(&self) -> Option<Option<Held>> {
        match self.answer()? {
            Answer::Held(held) | Answer::NotSwapped(held) => Some(*held),
            Answer::Written(_) | Answer::Deleted { .. } | Answer::List(_) | Answer::Count(_) => None,
        }
    }
}
