//! What the watchdog sees of each driver: counters that the driver raises as it works. They cost some ns a job, and read no
//! clock but around a sync.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use granary_duties::{disk::Average, standing::Work};
use parking_lot::Mutex;

/// For tests: what happens to a thread at the given time that it begins something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It panics.
    Panic,
    /// It does nothing any more.
    Hang,
}

/// One thread that does one thing at a time.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    begun: AtomicU64,
    done: AtomicU64,
    fault: Option<(Fault, u64)>,
}

impl Meter {
    /// Something begins.
    pub(crate) fn begin(&self) {
        let before = self.begun.fetch_add(1, Relaxed);
        if let Some((fault, _)) = self.fault.filter(|(_, at)| *at == before) {
            strike(fault);
        }
    }

    /// It is done.
    pub(crate) fn end(&self) {
        self.done.fetch_add(1, Relaxed);
    }

    /// With `waiting` things behind the one under way.
    pub(crate) fn work(&self, waiting: usize) -> Work {
        // In this order: a job that ends in between counts as done.
        let begun = self.begun.load(Relaxed);
        let done = self.done.load(Relaxed);
        Work { busy: waiting > 0 || begun > done, done }
    }

    /// Of something that shall go on in any case.
    pub(crate) fn always(&self) -> Work {
        Work { busy: true, done: self.done.load(Relaxed) }
    }
}

#[expect(clippy::panic, reason = "a test asked for it")]
fn strike(fault: Fault) {
    tracing::warn!(?fault, "a thread fails now, as a test asked");
    match fault {
        Fault::Panic => panic!("a test asked for this panic"),
        Fault::Hang => loop {
            std::thread::park();
        },
    }
}

/// Of all drivers.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    /// Writes of `raft/`.
    pub(crate) log: Meter,
    /// Syncs of `data/`.
    pub(crate) flush: Meter,
    /// Batches and jobs of the applier.
    pub(crate) apply: Meter,
    /// Jobs of the worker.
    pub(crate) worker: Meter,
    /// Turns of the store's loop.
    pub(crate) store: Meter,
    /// Beats of the runtime.
    pub(crate) runtime: Meter,
    /// New work that the store has taken in.
    pub(crate) intake: Meter,
    /// New work that waits for the store, as of its last turn.
    pub(crate) intake_waits: AtomicUsize,
    /// The applier installs, makes or empties a replica.
    pub(crate) long: AtomicBool,
    /// RocksDB takes no writes of `data/` until it has merged enough.
    pub(crate) writes_stopped: AtomicBool,
    average_ns: AtomicU64,
    syncs: Mutex<Syncs>,
}

/// A fault that a test asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectedFault {
    /// `store` or `applier`.
    pub thread: String,
    /// What happens.
    pub fault: Fault,
    /// After how many turns or batches.
    pub at: u64,
}

impl InjectedFault {
    /// From such as `hang:store:400`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (fault, thread, at) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
        let fault = match fault {
            "panic" => Fault::Panic,
            "hang" => Fault::Hang,
            _ => return None,
        };
        let known = matches!(thread, "store" | "applier") && parts.next().is_none();
        known.then(|| Self { thread: thread.to_owned(), fault, at })
    }
}

#[derive(Debug, Default)]
struct Syncs {
    average: Average,
    last: Option<Instant>,
}

impl Meters {
    /// With a fault in one thread: `store` or `applier`.
    pub(crate) fn with_fault(fault: Option<&InjectedFault>) -> Self {
        let mut meters = Self::default();
        if let Some(InjectedFault { thread, fault, at }) = fault {
            let meter = if thread == "store" { &mut meters.store } else { &mut meters.apply };
            meter.fault = Some((*fault, *at));
        }
        meters
    }

    /// A write of the log, which is measured; the log writer's alone.
    pub(crate) fn measure_log<T>(&self, write: impl FnOnce() -> T) -> T {
        self.log.begin();
        let began = Instant::now();
        let outcome = write();
        let ended = Instant::now();
        {
            let mut syncs = self.syncs.lock();
            let since = syncs.last.map_or(Duration::ZERO, |last| ended.saturating_duration_since(last));
            let average = syncs.average.add(ended.saturating_duration_since(began), since);
            syncs.last = Some(ended);
            self.average_ns.store(u64::try_from(average.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        }
        self.log.end();
        outcome
    }

    /// Average time of a write of the log.
    pub(crate) fn sync_average(&self) -> Duration {
        Duration::from_nanos(self.average_ns.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_a_thread_and_a_time() {
        let fault = InjectedFault { thread: "store".into(), fault: Fault::Hang, at: 400 };
        assert_eq!(InjectedFault::parse("hang:store:400"), Some(fault));
        for text in ["", "hang", "hang:store", "burn:store:1", "hang:worker:1", "hang:store:x", "hang:store:1:2"] {
            assert_eq!(InjectedFault::parse(text), None, "{text}");
        }
    }

    #[test]
    fn work_is_there_while_something_is_under_way_or_waits() {
        let meter = Meter::default();
        assert_eq!(meter.work(0), Work { busy: false, done: 0 });
        assert!(meter.work(1).busy);
        meter.begin();
        assert!(meter.work(0).busy);
        meter.end();
        assert_eq!(meter.work(0), Work { busy: false, done: 1 });
        assert!(meter.always().busy);
    }
}
