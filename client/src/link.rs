//! The way to one node: its stream, opened when first needed and again after it broke, with a pause between failures.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;

use crate::{
    backoff::Backoff,
    pipe::{Limits, Pipe},
};

/// The way to one node.
#[derive(Debug)]
pub(crate) struct Link {
    /// host:port of its data API.
    pub(crate) address: String,
    limits: Limits,
    state: Mutex<State>,
    /// One connection is opened at a time; the others wait for it.
    connecting: tokio::sync::Mutex<()>,
    /// A connection stood once.
    worked: AtomicBool,
    /// One was tried and failed.
    failed: AtomicBool,
}

#[derive(Debug)]
struct State {
    pipe: Option<Arc<Pipe>>,
    backoff: Backoff,
    /// Until when no connection is tried, and why.
    pause: Option<(Instant, String)>,
}

impl Link {
    /// To `address`; nothing is opened yet.
    pub(crate) fn new(address: String, limits: Limits) -> Self {
        let state = State { pipe: None, backoff: Backoff::reconnect(), pause: None };
        Self {
            address,
            limits,
            state: Mutex::new(state),
            connecting: tokio::sync::Mutex::default(),
            worked: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// The stream, opened if need be. The error says why there is none; within a pause it comes at once.
    pub(crate) async fn pipe(&self) -> Result<Arc<Pipe>, String> {
        if let Some(pipe) = self.open_pipe()? {
            return Ok(pipe);
        }
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(pipe) = self.open_pipe()? {
            return Ok(pipe);
        }
        match Pipe::connect(&self.address, &self.limits).await {
            Ok(pipe) => {
                let pipe = Arc::new(pipe);
                self.worked.store(true, Ordering::Relaxed);
                let mut state = self.state.lock();
                state.pipe = Some(pipe.clone());
                state.pause = None;
                state.backoff.reset();
                Ok(pipe)
            }
            Err(cause) => {
                self.failed.store(true, Ordering::Relaxed);
                self.pause(&cause);
                Err(cause)
            }
        }
    }

    /// Whether it failed a moment ago: another one is the better choice.
    pub(crate) fn is_suspect(&self) -> bool {
        self.state.lock().pause.as_ref().is_some_and(|(until, _)| *until > Instant::now())
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
            self.pause(cause);
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

    fn pause(&self, cause: &str) {
        let mut state = self.state.lock();
        let wait = state.backoff.next();
        state.pause = Some((Instant::now() + wait, cause.to_owned()));
    }
}
