//! Records operations while they run, from any number of threads.
//!
//! Bounded: when it is full it refuses calls and says so; an operation that was refused must not be run, or the history
//! would have a hole. Which clock it uses is told to it; it knows nothing of what is tested.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use crate::{
    History,
    history::Origin,
    operation::{Action, Answer, Operation, Outcome},
};

/// Elements of lists that are kept for each operation of the capacity, on average.
const ELEMENTS_PER_OPERATION: usize = 64;

/// The recorder has no room for another operation. Do not run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the recorder is full ({capacity} operations): the operation must not be run")]
pub struct Full {
    /// How many operations it holds at most.
    pub capacity: usize,
}

/// An operation that was called and has not ended. When it is dropped, the outcome stays unknown.
#[derive(Debug)]
#[must_use = "an operation that is never ended has an unknown outcome"]
pub struct Ticket(usize);

/// Collects the operations of one run.
pub struct Recorder {
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
    capacity: usize,
    full: AtomicBool,
    recorded: Mutex<Recorded>,
}

#[derive(Default)]
struct Recorded {
    /// Each with whether it ended; unknown until then.
    operations: Vec<(Operation, bool)>,
    elements: usize,
}

impl Recorder {
    /// A recorder of at most `capacity` operations, with the clock of a simulation or any other that never goes back.
    pub fn with_clock(capacity: usize, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self {
            clock: Box::new(clock),
            capacity,
            full: AtomicBool::new(false),
            recorded: Mutex::new(Recorded::default()),
        }
    }

    /// A recorder of at most `capacity` operations, with this process's monotonic clock in ns since now. All clients
    /// must be in this process.
    pub fn monotonic(capacity: usize) -> Self {
        let start = Instant::now();
        Self::with_clock(capacity, move || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// To be called just before a request leaves.
    ///
    /// # Errors
    /// When there is no room. Then the operation must not be run, and from then on every call is refused.
    pub fn call(&self, client: u32, key: impl Into<String>, action: Action) -> Result<Ticket, Full> {
        let mut recorded = self.lock();
        if self.is_full() || self.has_no_room(&recorded) {
            self.full.store(true, Ordering::Relaxed);
            return Err(Full { capacity: self.capacity });
        }
        let called = (self.clock)();
        let operation =
            Operation { client, key: key.into(), called, returned: called, action, outcome: Outcome::Unknown };
        recorded.operations.push((operation, false));
        Ok(Ticket(recorded.operations.len() - 1))
    }

    /// To be called just after the answer is there, or the client gave up. This always has room.
    pub fn end(&self, ticket: Ticket, outcome: Outcome) {
        let returned = (self.clock)();
        let mut recorded = self.lock();
        if let Outcome::Ok(Answer::List(list)) = &outcome {
            recorded.elements += list.len();
        }
        if let Some((operation, ended)) = recorded.operations.get_mut(ticket.0) {
            operation.returned = returned.max(operation.called);
            operation.outcome = outcome;
            *ended = true;
        }
    }

    /// Whether a call was refused. A run that filled its recorder did not do all that it was to do.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Operations called so far.
    pub fn len(&self) -> usize {
        self.lock().operations.len()
    }

    /// Whether nothing was called yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was recorded so far. Operations that have not ended are unknown, and last until now.
    pub fn history(&self, origin: Origin) -> History {
        let recorded = self.lock();
        let now = (self.clock)();
        let operations = recorded.operations.iter().map(|(operation, ended)| {
            let mut operation = operation.clone();
            if !ended {
                operation.returned = now.max(operation.called);
            }
            operation
        });
        History { origin, operations: operations.collect() }
    }

    fn has_no_room(&self, recorded: &Recorded) -> bool {
        recorded.operations.len() >= self.capacity
            || recorded.elements >= self.capacity.saturating_mul(ELEMENTS_PER_OPERATION)
    }

    /// A client that panicked while it held the lock leaves whole operations behind.
    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
