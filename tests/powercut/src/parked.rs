//! Requests that wait: delayed or stalled. The threads that talk to the kernel go on meanwhile.
//!
//! There are at most as many as processes have threads that wait for a request: nobody sends a second one before the
//! answer.

use std::{mem, sync::Arc, thread, time::Instant};

use parking_lot::{Condvar, Mutex};

use crate::model::faults::{FaultId, Wait};

/// What is done with a request when its wait is over: it looks for itself whether the disk still lives.
pub type Work = Box<dyn FnOnce() + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    At(Instant),
    Withdrawn(FaultId),
}

#[derive(Default)]
struct Waiting {
    requests: Vec<(Until, Work)>,
    ended: bool,
}

/// The requests, and the thread that wakes them.
#[derive(Default)]
pub struct Parked {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Parked {
    /// Starts the thread. It ends with [`Self::end`].
    ///
    /// # Errors
    /// No thread is to be had.
    pub fn start() -> std::io::Result<Arc<Self>> {
        let parked = Arc::new(Self::default());
        let worker = Arc::clone(&parked);
        thread::Builder::new().name("powercut-parked".into()).spawn(move || worker.run())?;
        Ok(parked)
    }

    /// Does the work after the wait.
    pub fn add(&self, wait: Wait, work: Work) {
        let mut waiting = self.waiting.lock();
        if waiting.ended {
            drop(waiting);
            return work();
        }
        let until = match wait {
            Wait::For(time) => Until::At(Instant::now() + time),
            Wait::Withdrawn(fault) => Until::Withdrawn(fault),
        };
        waiting.requests.push((until, work));
        self.changed.notify_one();
    }

    /// Ends the wait for this rule.
    pub fn withdrawn(&self, fault: FaultId) {
        let now = Instant::now();
        for (until, _) in &mut self.waiting.lock().requests {
            if *until == Until::Withdrawn(fault) {
                *until = Until::At(now);
            }
        }
        self.changed.notify_one();
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.lock().requests.len()
    }

    /// Ends every wait, and lets none begin. Says how many there were.
    pub fn end(&self) -> usize {
        let mut waiting = self.waiting.lock();
        waiting.ended = true;
        let requests = mem::take(&mut waiting.requests);
        drop(waiting);
        self.changed.notify_one();
        let ended = requests.len();
        requests.into_iter().for_each(|(_, work)| work());
        ended
    }

    fn run(&self) {
        let mut waiting = self.waiting.lock();
        while !waiting.ended {
            let now = Instant::now();
            let is_due = |until: &Until| matches!(until, Until::At(time) if *time <= now);
            let due: Vec<_> = waiting.requests.extract_if(.., |(until, _)| is_due(until)).collect();
            if due.is_empty() {
                let times = waiting.requests.iter().filter_map(|(until, _)| match until {
                    Until::At(time) => Some(*time),
                    Until::Withdrawn(_) => None,
                });
                match times.min() {
                    Some(time) => drop(self.changed.wait_until(&mut waiting, time)),
                    None => self.changed.wait(&mut waiting),
                }
            } else {
                drop(waiting);
                due.into_iter().for_each(|(_, work)| work());
                waiting = self.waiting.lock();
            }
        }
    }
}
