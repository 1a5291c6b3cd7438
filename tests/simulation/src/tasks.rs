//! Tasks: what a node, a client or the operator does in several steps, as futures that one thread polls in a fixed order.
//! Knows nothing of what they do.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use parking_lot::Mutex;

/// Whose task: it ends with its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A process of a node.
    Process {
        /// Its place.
        place: usize,
        /// Which process there.
        epoch: u64,
    },
    /// A process of the operator.
    Operator(u64),
    /// A client, or a message on its way: never ends by a fault.
    Outside,
}

type Queue = Arc<Mutex<VecDeque<u64>>>;

struct Alarm {
    id: u64,
    ready: Queue,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.ready.lock().push_back(self.id);
    }
}

/// A task that is not being polled.
pub struct Task {
    /// Whose.
    pub owner: Owner,
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
}

impl Task {
    /// Whether it is done.
    pub fn poll(&mut self) -> bool {
        matches!(self.future.as_mut().poll(&mut Context::from_waker(&self.waker)), Poll::Ready(()))
    }
}

/// All tasks.
#[derive(Default)]
pub struct Tasks {
    tasks: BTreeMap<u64, Task>,
    next: u64,
    ready: Queue,
}

impl Tasks {
    /// A new task, to be polled soon.
    pub fn spawn(&mut self, owner: Owner, future: impl Future<Output = ()> + 'static) {
        self.next += 1;
        let id = self.next;
        let waker = Waker::from(Arc::new(Alarm { id, ready: self.ready.clone() }));
        self.tasks.insert(id, Task { owner, future: Box::pin(future), waker });
        self.ready.lock().push_back(id);
    }

    /// The next task that can go on: its id and owner.
    pub fn next_ready(&mut self) -> Option<(u64, Owner)> {
        loop {
            let id = self.ready.lock().pop_front()?;
            if let Some(task) = self.tasks.get(&id) {
                return Some((id, task.owner));
            }
        }
    }

    /// Takes a task out, to be polled.
    pub fn take(&mut self, id: u64) -> Option<Task> {
        self.tasks.remove(&id)
    }

    /// Puts it back.
    pub fn put_back(&mut self, id: u64, task: Task) {
        self.tasks.insert(id, task);
    }

    /// Lets a task be polled again.
    pub fn wake(&mut self, id: u64) {
        self.ready.lock().push_back(id);
    }

    /// Ends all tasks of an owner; to be dropped by the caller.
    pub fn end(&mut self, owner: Owner) -> Vec<Task> {
        let ended: Vec<u64> = self.tasks.iter().filter(|(_, task)| task.owner == owner).map(|(id, _)| *id).collect();
        ended.into_iter().filter_map(|id| self.tasks.remove(&id)).collect()
    }
}
