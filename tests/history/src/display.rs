//! Operations as people read them, one line each.

use std::fmt::{Display, Formatter, Result};

use crate::operation::{Action, Answer, Change, Expected, Held, Operation, Outcome};

/// Elements of a list that are printed; of a longer one, the last.
const SHOWN: usize = 12;

impl Display for Operation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "client {} [{}..{}] {}", self.client, self.called, self.returned, self.action)?;
        match &self.outcome {
            Outcome::Ok(answer) => write!(f, " -> {answer}"),
            Outcome::Failed => write!(f, " -> failed"),
            Outcome::Unknown => write!(f, " -> unknown"),
        }
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Read => write!(f, "read"),
            Self::Put { value } => write!(f, "put {value}"),
            Self::Delete => write!(f, "delete"),
            Self::CompareAndSet { expected, change } => write!(f, "if {expected}: {change}"),
            Self::Append { element } => write!(f, "append {element}"),
            Self::ReadList => write!(f, "read the list"),
            Self::Add { amount } => write!(f, "add {amount}"),
            Self::ReadCounter => write!(f, "read the counter"),
        }
    }
}

impl Display for Expected {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Absent => write!(f, "absent"),
            Self::Present => write!(f, "present"),
            Self::Value(value) => write!(f, "value {value}"),
            Self::Revision(revision) => write!(f, "revision {revision}"),
        }
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Put(value) => write!(f, "put {value}"),
            Self::Delete => write!(f, "delete"),
        }
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Written(revision) => write!(f, "done{}", At(*revision)),
            Self::Deleted { existed, revision } => {
                let what = match existed {
                    Some(true) => ", it was there",
                    Some(false) => ", it was not there",
                    None => "",
                };
                write!(f, "done{what}{}", At(*revision))
            }
            Self::NotSwapped(held) => write!(f, "not done, holds {}", Holds(*held)),
            Self::Held(held) => write!(f, "{}", Holds(*held)),
            Self::List(list) => write!(f, "{}", Elements(list)),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

/// A revision, when there is one.
struct At(Option<u64>);

impl Display for At {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.0.map_or(Ok(()), |revision| write!(f, " at revision {revision}"))
    }
}

/// What a register holds.
pub(crate) struct Holds(pub(crate) Option<Held>);

impl Display for Holds {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.0 {
            Some(held) => write!(f, "{}{}", held.value, At(held.revision)),
            None => write!(f, "nothing"),
        }
    }
}

/// The end of a list.
pub(crate) struct Elements<'a>(pub(crate) &'a [u64]);

impl Display for Elements<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let left_out = self.0.len().saturating_sub(SHOWN);
        let shown: Vec<String> = self.0.iter().skip(left_out).map(u64::to_string).collect();
        let more = if left_out > 0 { format!("{left_out} more, ") } else { String::new() };
        write!(f, "[{more}{}]", shown.join(", "))
    }
}
