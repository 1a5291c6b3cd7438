//! The way to one node: its stream, opened when first needed and again after it broke, with a pause between failures.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    backoff::Backoff,
    pipe::{Limits, Pipe},
};

/// Longest time for which a caller waits for a connection before it tries another replica. An address that is gone answers
/// nothing at all, not even a refusal; the connection itself may take its whole time meanwhile.
pub(crate) const DIAL_PATIENCE: Duration = Duration::from_millis(200);

/// The way to one node.
#[derive(Debug)]
pub(crate) struct Link {
    /// host:port of its data API.
    pub(crate) address: String,
    limits: Limits,
    state: Mutex<State>,
    /// Signalled when an attempt to connect has ended. There is one at a time, and all callers wait for it.
    dialled: Notify,
    /// A connection stood once.
    worked: AtomicBool,
    /// One was tried and failed.
    failed: AtomicBool,
}

#[derive(Debug)]
struct State {
    pipe: Option<Arc<Pipe>>,
    backoff: Backoff,
    /// Since when a connection is being opened.
    dialling: Option<Instant>,
    /// Until when no connection is tried, and why.
    pause: Option<(Instant, String)>,
    /// It was given up because it said nothing, and has said nothing since.
    silent: bool,
}

impl Link {
    /// To `address`; nothing is opened yet.
    pub(crate) fn new(address: String, limits: Limits) -> Self {
        let state = State { pipe: None, backoff: Backoff::reconnect(), dialling: None, pause: None, silent: false };
        Self {
            address,
            limits,
            state: Mutex::new(state),
            dialled: Notify::new(),
            worked: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// The stream, opened if need be; after `patience` without one it goes on being opened without the caller. The error
    /// says why there is none; within a pause it comes at once, and so it does while the node is silent: a stopped process
    /// takes connections and answers none, and whoever waits for it may miss the leader that the others have by now.
    pub(crate) async fn pipe(self: &Arc<Self>, patience: Duration) -> Result<Arc<Pipe>, String> {
        let limit = tokio::time::Instant::now() + patience;
        loop {
            // Registered before the look, so that an end in between is not missed.
            let dialled = self.dialled.notified();
            if let Some(pipe) = self.open_pipe()? {
                return Ok(pipe);
            }
            self.dial();
            if self.state.lock().silent {
                return Err("it was silent, and does not answer yet".into());
            }
            if tokio::time::timeout_at(limit, dialled).await.is_err() {
                return Err(format!("no connection within {patience:?}"));
            }
        }
    }

    /// Begins to connect, unless that is under way. It ends by itself: within the time of `limits`.
    fn dial(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if state.dialling.is_some() {
            return;
        }
        state.dialling = Some(Instant::now());
        let link = self.clone();
        tokio::spawn(async move {
            let connected = Pipe::connect(&link.address, &link.limits).await;
            link.connected(connected);
            link.dialled.notify_waiters();
        });
    }

    fn connected(&self, connected: Result<Pipe, String>) {
        let mut state = self.state.lock();
        state.dialling = None;
        match connected {
            Ok(pipe) => {
                self.worked.store(true, Ordering::Relaxed);
                state.pipe = Some(Arc::new(pipe));
                state.pause = None;
                state.silent = false;
                state.backoff.reset();
            }
            Err(cause) => {
                self.failed.store(true, Ordering::Relaxed);
                state.pause(&cause);
            }
        }
    }

    /// Whether it failed a moment ago, is silent, or slow to connect: another one is the better choice.
    pub(crate) fn is_suspect(&self) -> bool {
        let state = self.state.lock();
        let is_slow = state.dialling.is_some_and(|since| since.elapsed() >= DIAL_PATIENCE);
        is_slow || state.silent || state.pause.as_ref().is_some_and(|(until, _)| *until > Instant::now())
    }

    /// Whether its stream stands, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        self.state.lock().pipe.as_ref().is_some_and(|pipe| !pipe.is_broken())
    }

    /// Whether a connection stood once.
    pub(crate) fn has_worked(&self) -> bool {
        self.worked.load(Ordering::Relaxed)
    }

    /// Whether connections were tried, and none ever stood.
    pub(crate) fn has_only_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed) && !self.has_worked()
    }

    /// Gives up `pipe`, on which nothing was heard for too long.
    pub(crate) fn give_up(&self, pipe: &Pipe, cause: &str) {
        if !pipe.is_broken() {
            pipe.cut(cause);
            let mut state = self.state.lock();
            state.silent = true;
            state.pause(cause);
        }
    }

    fn open_pipe(&self) -> Result<Option<Arc<Pipe>>, String> {
        let state = self.state.lock();
        if let Some(pipe) = state.pipe.as_ref().filter(|pipe| !pipe.is_broken()) {
            return Ok(Some(pipe.clone()));
        }
        match &state.pause {
            Some((until, cause)) if *until > Instant::now() => Err(cause.clone()),
            _ => Ok(None),
        }
    }
}

impl State {
    fn pause(&mut self, cause: &str) {
        let wait = self.backoff.next();
        self.pause = Some((Instant::now() + wait, cause.to_owned()));
    }
}
