//! The log writer: a thread that drains everything in flight for all shards into one write with one sync, and then
//! completes it in order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use granary_common::log::Entry;
use granary_engine::{LogBatch, RaftStore, raft_store::LogId};
use granary_store::{Event, Persist};

use super::{StoreInput, fatal::fatal, meters::Meters, pressure::Pressure};

/// Jobs drained into one write at most.
const MAX_JOBS: usize = 1024;
/// Bytes after which a write takes no further job.
const MAX_BYTES: usize = 8 << 20;

/// A write begins no sooner than so many times the length of the one before behind its begin: under load more comes together
/// in one sync, which costs the same whatever is in it (docs/performance.md).
const PACE: u32 = 3;
/// Behind a write of so few changes nobody waits: there is no load that would come together.
const LONELY: usize = 2;
/// The longest such time, for a disk that is slow.
const MAX_PAUSE: Duration = Duration::from_millis(2);

type Done = Box<dyn FnOnce() + Send>;

struct Job {
    batch: LogBatch,
    weight: usize,
    /// Batch of the store that is complete with it.
    number: Option<u64>,
    done: Option<Done>,
}

/// The writer's queue. Cheap to clone.
#[derive(Clone)]
pub struct LogWriter {
    jobs: Sender<Job>,
    pressure: Arc<Pressure>,
}

impl LogWriter {
    /// Starts the thread. It ends when all clones of the queue are gone.
    pub(crate) fn start(
        raft: Arc<RaftStore>,
        completions: Sender<StoreInput>,
        pressure: Arc<Pressure>,
        meters: Arc<Meters>,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let (jobs, queue) = unbounded();
        let of_thread = pressure.clone();
        let thread = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || write_all(&raft, &queue, &completions, &of_thread, &meters))?;
        Ok((Self { jobs, pressure }, thread))
    }

    /// Jobs that wait, for the watchdog.
    pub(crate) fn waiting(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn persist(&self, persist: Persist) {
        let mut batch = LogBatch::new();
        for item in persist.items {
            let log = LogId { shard: item.shard, replica: item.replica };
            if let Some(append) = item.append {
                batch.append(log, append.entries);
            }
            if let Some(hard_state) = item.hard_state {
                batch.set_hard_state(log, hard_state);
            }
            if let Some(to) = item.truncate {
                batch.truncate(log, to);
            }
        }
        if persist.must_sync {
            batch.require_sync();
        }
        self.push(batch, Some(persist.number), None);
    }

    /// Writes `batch` in its turn and then calls `done`, on the writer's thread.
    pub fn write(&self, batch: LogBatch, done: impl FnOnce() + Send + 'static) {
        self.push(batch, None, Some(Box::new(done)));
    }

    fn push(&self, batch: LogBatch, number: Option<u64>, done: Option<Done>) {
        let weight = batch.weight();
        self.pressure.add(weight);
        // A writer that has ended has ended the process with it, or the node is stopping.
        let _ = self.jobs.send(Job { batch, weight, number, done });
    }
}

fn write_all(
    raft: &RaftStore,
    queue: &Receiver<Job>,
    completions: &Sender<StoreInput>,
    pressure: &Pressure,
    meters: &Meters,
) {
    let mut next = Instant::now();
    while let Ok(first) = queue.recv() {
        // Lets more jobs come in under load.
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let began = Instant::now();
        let mut jobs = vec![first];
        let mut bytes = jobs[0].weight;
        while jobs.len() < MAX_JOBS && bytes < MAX_BYTES {
            let Ok(job) = queue.try_recv() else { break };
            bytes += job.weight;
            jobs.push(job);
        }
        let mut batch = LogBatch::new();
        for job in &mut jobs {
            batch.extend(std::mem::take(&mut job.batch));
        }
        let lonely = batch.len() <= LONELY;
        if !batch.is_empty()
            && let Err(error) = meters.measure_log(|| raft.write(batch))
        {
            fatal("writing the log failed", &error);
        }
        let pause = if lonely { Duration::ZERO } else { (began.elapsed() * PACE).min(MAX_PAUSE) };
        next = began + pause;
        pressure.remove(bytes);
        // Batches complete in order, so the highest number stands for all before it.
        if let Some(number) = jobs.iter().filter_map(|job| job.number).max() {
            let _ = completions.send(StoreInput::Event(Event::Persisted { number }));
        }
        for done in jobs.into_iter().filter_map(|job| job.done) {
            done();
        }
    }
}

/// Bytes that entries count for in queues.
pub(crate) fn weight(entries: &[Entry]) -> usize {
    entries.iter().map(Entry::weight).sum()
}
