//! The requests of one stream that wait for their answers, and the permits that bound them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use granary_proto::kv::pipe_response::Response;
use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

/// Bytes are counted in these, rounded up.
const UNIT: u64 = 1024;

/// The stream broke before the answer came.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    /// False when the request certainly never left this process.
    pub(crate) sent: bool,
    /// What broke it.
    pub(crate) cause: Arc<str>,
}

/// Who waits for an answer.
pub(super) type Asker = oneshot::Sender<Result<Response, Broken>>;

/// The requests of one stream that wait for their answers.
#[derive(Debug)]
pub(super) struct InFlight {
    table: Mutex<Table>,
    requests: Semaphore,
    units: Semaphore,
    max_units: u32,
    opened: Instant,
    heard_ms: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    waiting: Slab<Waiting>,
    broken: Option<Arc<str>>,
}

#[derive(Debug)]
struct Waiting {
    asker: Asker,
    weight: u32,
}

/// Permission for one request.
pub(super) struct Permits<'a> {
    request: SemaphorePermit<'a>,
    units: SemaphorePermit<'a>,
}

impl Permits<'_> {
    /// Hands the permission over to whoever calls [`InFlight::release`].
    pub(super) fn forget(self) {
        self.request.forget();
        self.units.forget();
    }
}

impl InFlight {
    /// With room for `requests` and `bytes` (each at least 1).
    pub(super) fn new(requests: usize, bytes: u64) -> Self {
        let max_units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX / 8).clamp(1, u32::MAX / 8);
        Self {
            table: Mutex::default(),
            requests: Semaphore::new(requests.clamp(1, Semaphore::MAX_PERMITS)),
            units: Semaphore::new(max_units as usize),
            max_units,
            opened: Instant::now(),
            heard_ms: AtomicU64::new(0),
        }
    }

    /// What a request of `bytes` takes of the room; one that is larger than all of it goes alone.
    pub(super) fn weight(&self, bytes: usize) -> u32 {
        u32::try_from(bytes as u64 / UNIT + 1).unwrap_or(u32::MAX).min(self.max_units)
    }

    /// Waits for room.
    pub(super) async fn permits(&self, weight: u32) -> Result<Permits<'_>, Broken> {
        let request = self.requests.acquire().await.map_err(|_| self.broken(false))?;
        let units = self.units.acquire_many(weight).await.map_err(|_| self.broken(false))?;
        Ok(Permits { request, units })
    }

    /// Gives a request's room back.
    pub(super) fn release(&self, weight: u32) {
        self.requests.add_permits(1);
        self.units.add_permits(weight as usize);
    }

    /// Enters a request that is about to be sent, and gives its id; `None` when the stream is broken.
    pub(super) fn enter(&self, asker: Asker, weight: u32) -> Option<u64> {
        let mut table = self.table.lock();
        if let Some(cause) = &table.broken {
            let broken = Broken { sent: false, cause: cause.clone() };
            drop(table);
            let _ = asker.send(Err(broken));
            return None;
        }
        // Id 0 is the welcome's.
        Some(table.waiting.insert(Waiting { asker, weight }) as u64 + 1)
    }

    /// Passes an answer on. False when nobody asked under this id.
    pub(super) fn answer(&self, id: u64, response: Response) -> bool {
        self.heard();
        let waiting = id.checked_sub(1).and_then(|key| self.table.lock().waiting.try_remove(key as usize));
        let Some(Waiting { asker, weight }) = waiting else { return false };
        self.release(weight);
        // The asker may have given up; then the answer is nobody's.
        let _ = asker.send(Ok(response));
        true
    }

    /// The node said something.
    pub(super) fn heard(&self) {
        self.heard_ms.store(self.opened.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Breaks the stream: all that wait are told, and nobody else gets in. Only the first cause counts.
    pub(super) fn cut(&self, cause: &str) {
        let mut table = self.table.lock();
        if table.broken.is_some() {
            return;
        }
        let cause: Arc<str> = cause.into();
        table.broken = Some(cause.clone());
        let waiting = std::mem::take(&mut table.waiting);
        drop(table);
        self.requests.close();
        self.units.close();
        for (_, Waiting { asker, .. }) in waiting {
            let _ = asker.send(Err(Broken { sent: true, cause: cause.clone() }));
        }
    }

    /// Whether the stream is broken.
    pub(super) fn is_broken(&self) -> bool {
        self.table.lock().broken.is_some()
    }

    /// The error of a broken stream.
    pub(super) fn broken(&self, sent: bool) -> Broken {
        let cause = self.table.lock().broken.clone().unwrap_or_else(|| "the connection was lost".into());
        Broken { sent, cause }
    }

    /// Time since the node last said anything.
    pub(super) fn silent_for(&self) -> Duration {
        self.opened.elapsed().saturating_sub(Duration::from_millis(self.heard_ms.load(Ordering::Relaxed)))
    }
}
