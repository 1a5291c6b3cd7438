//! Starts all drivers of a member, and stops them in order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Sender, unbounded};
use granary_common::NodeId;
use granary_duties::watchdog;
use granary_engine::{LogBatch, Stores, raft_store::TailLimits, snapshot::InstallStep};
use granary_proto::{raft::SpentReplica, storage::MetaState};
use granary_store::{Config, Event, Founding, Store};
use prost::Message as _;

use super::{
    AppliedTable, Board, Health, Inbox, InjectedFault, Limits, LogWriter, Marks, Outbound, RecoveryError, StoreHandle,
    StoreInput, Waiters,
    applier::{Applier, Parts},
    flusher,
    meters::Meters,
    pressure::Pressure,
    recovery::{FoundAll, recover},
    replicas::Lifecycle,
    store_thread::StoreThread,
    watch::Watch,
    worker::{Offered, Worker},
};
use crate::{map::MapHolder, rhythm};

/// How often the runtime shows that it goes on.
const BEAT: Duration = Duration::from_secs(1);
const FLUSHER: &str = "flusher";

/// What the drivers are told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of the store.
    pub store: Config,
    /// Of callers and peers.
    pub limits: Limits,
    /// Bytes that may wait for the log writer and the applier before nothing new is taken in.
    pub queue_bytes: usize,
    /// Ends the process behind this step of an install: for tests of crashes.
    pub crash_at: Option<InstallStep>,
    /// Most bytes a second that replicas are read with to compare them.
    pub read_bytes_per_second: u64,
    /// When the watchdog does something.
    pub watchdog: watchdog::Limits,
    /// Stops or ends a thread: for tests of the watchdog.
    pub fault: Option<InjectedFault>,
}

/// What was found on the disk and does not run yet: the transport is made in between, since it needs the map.
pub struct Prepared {
    found: FoundAll,
    /// The cluster map.
    pub map: MapHolder,
    /// Highest incarnation seen of each peer.
    pub incarnations: Vec<(NodeId, u64)>,
    settings: Settings,
    stores: Stores,
    control: (Sender<StoreInput>, crossbeam_channel::Receiver<StoreInput>),
    intake: (Sender<StoreInput>, crossbeam_channel::Receiver<StoreInput>),
    waiters: Arc<Waiters>,
    board: Arc<Board>,
    log: LogWriter,
    log_thread: JoinHandle<()>,
    pressure: Arc<Pressure>,
    meters: Arc<Meters>,
    /// For the services.
    pub store: StoreHandle,
    /// For received snapshots.
    pub inbox: Arc<Inbox>,
}

/// The running drivers.
pub struct Drivers {
    /// For services.
    pub store: StoreHandle,
    /// How far each replica has applied.
    pub applied: Arc<AppliedTable>,
    /// The log writer's queue, for rows of other parts.
    pub log: LogWriter,
    lifecycle: Arc<Lifecycle>,
    control: Sender<StoreInput>,
    stop_flusher: Sender<()>,
    /// What the watchdog finds.
    pub health: Arc<Health>,
    /// What replicas here held at marks.
    pub marks: Arc<Marks>,
    threads: Arc<Vec<(&'static str, JoinHandle<()>)>>,
    stopping: Arc<AtomicBool>,
}

/// Reads what is on the disk and makes the queues.
///
/// # Errors
/// When the stores cannot be read: the node must not run.
pub fn start(stores: Stores, settings: Settings) -> Result<Prepared, RecoveryError> {
    let tail = TailLimits { entries: settings.store.memory_entries, bytes: settings.store.memory_bytes };
    let found = recover(&stores, tail)?;
    let (control, intake) = (unbounded(), unbounded());
    let waiters = Arc::new(Waiters::default());
    let board = Arc::new(Board::new());
    let pressure = Arc::new(Pressure::new(settings.queue_bytes));
    let meters = Arc::new(Meters::with_fault(settings.fault.as_ref()));
    let (log, log_thread) = LogWriter::start(stores.raft.clone(), control.0.clone(), pressure.clone(), meters.clone())
        .map_err(RecoveryError::Thread)?;
    let senders = (control.0.clone(), intake.0.clone());
    let store = StoreHandle::new(senders, waiters.clone(), board.clone(), settings.limits);
    let newest = match found.meta.as_ref().and_then(|meta| meta.map.clone()) {
        Some(map) if map.version > found.map.version => map,
        _ => found.map.clone(),
    };
    Ok(Prepared {
        map: MapHolder::new(newest),
        incarnations: found.incarnations.clone(),
        found,
        settings,
        stores,
        control,
        intake,
        waiters,
        board,
        log,
        log_thread,
        pressure,
        meters,
        store,
        inbox: Arc::new(Inbox::default()),
    })
}

impl Prepared {
    /// The log writer's queue, for rows of other parts.
    pub fn log(&self) -> LogWriter {
        self.log.clone()
    }

    /// Starts the threads. With `founding`, the first state of the meta shard is written before anything else.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn run(self, outbound: Arc<dyn Outbound>, founding: Option<&MetaState>) -> Result<Drivers, RecoveryError> {
        let node = self.settings.store.node;
        let (applier_jobs, applier_queue) = unbounded();
        let (worker_jobs, worker_queue) = unbounded();
        let (stop_flusher, flusher_stops) = unbounded();
        let applied = Arc::new(AppliedTable::default());
        let offered = Arc::new(Offered::default());
        let control = self.control.0.clone();
        let lifecycle = Lifecycle::new(
            node,
            (&self.found, self.stores.clone()),
            applier_jobs.clone(),
            self.log.clone(),
            control.clone(),
            self.board.clone(),
            self.map.clone(),
        );
        let marks = Marks::new(self.stores.data.clone(), self.settings.read_bytes_per_second);
        let mut store = Store::new(self.settings.store.clone());
        let mut states = Vec::new();
        let now = super::clock::now_ns();
        for found in self.found.replicas {
            states.extend(found.state.map(|state| (found.replica, state)));
            let (shard, replica) = (found.shard, found.replica);
            debug_assert_eq!(found.founding, Founding::Restarted);
            let recovered = Box::new(found.recovered);
            store.handle(now, Event::Start { shard, replica, recovered, founding: found.founding });
        }
        let applier = Applier::new(Parts {
            data: self.stores.data.clone(),
            waiters: self.waiters.clone(),
            applied: applied.clone(),
            pressure: self.pressure.clone(),
            store: control.clone(),
            log: self.log.clone(),
            map: self.map.clone(),
            meters: self.meters.clone(),
            marks: marks.clone(),
            crash_at: self.settings.crash_at,
            replicas: states,
            meta: self.found.meta,
        });
        let worker = Worker {
            raft: self.stores.raft.clone(),
            data: self.stores.data.clone(),
            staging: self.stores.staging.clone(),
            offered: offered.clone(),
            store: control.clone(),
            meters: self.meters.clone(),
        };
        let store_thread = StoreThread {
            store,
            tick: Duration::from_nanos(self.settings.store.tick_ns),
            ticked: Instant::now(),
            ticks: 0,
            control: self.control.1,
            intake: self.intake.1,
            completions: control.clone(),
            log: self.log.clone(),
            applier: applier_jobs,
            worker: worker_jobs,
            offered,
            inbox: self.inbox,
            undecided: Vec::new(),
            outbound: outbound.clone(),
            board: self.board,
            waiters: self.waiters,
            applied: applied.clone(),
            pressure: self.pressure,
            lifecycle: lifecycle.clone(),
            meters: self.meters.clone(),
            awaits_applied: true,
        };
        let (of_flusher, stores, to_store) = (applied.clone(), self.stores.clone(), control.clone());
        let (apply_waits, worker_waits, of_flushes) =
            (applier_queue.clone(), worker_queue.clone(), self.meters.clone());
        let flush = move || flusher::run(&stores, &of_flusher, &to_store, &flusher_stops, &of_flushes);
        let threads = Arc::new(vec![
            ("log-writer", self.log_thread),
            ("applier", spawn("applier", move || applier.run(&applier_queue))?),
            ("worker", spawn("worker", move || worker.run(&worker_queue))?),
            (FLUSHER, spawn(FLUSHER, flush)?),
            ("store", spawn("store", move || store_thread.run())?),
        ]);
        let (health, stopping, log_waits) = (Arc::<Health>::default(), Arc::<AtomicBool>::default(), self.log.clone());
        let watch = Watch {
            limits: self.settings.watchdog,
            meters: self.meters.clone(),
            health: health.clone(),
            queues: [
                Box::new(move || log_waits.waiting()),
                Box::new(move || apply_waits.len()),
                Box::new(move || worker_waits.len()),
            ],
            outbound,
            threads: threads.clone(),
            stopping: stopping.clone(),
        };
        spawn("watchdog", move || watch.run())?;
        tokio::spawn(beat(self.meters));
        if let Some(state) = founding {
            lifecycle.found_meta(state);
        }
        let drivers = Drivers {
            store: self.store,
            applied,
            log: self.log,
            lifecycle,
            control,
            stop_flusher,
            health,
            marks,
            threads,
            stopping,
        };
        drivers.follow_map(&self.map);
        Ok(drivers)
    }
}

impl Drivers {
    /// Makes replicas as the map says, and keeps a copy of each newer map on disk.
    fn follow_map(&self, map: &MapHolder) {
        let (lifecycle, log) = (self.lifecycle.clone(), self.log.clone());
        let mut maps = map.subscribe();
        maps.mark_changed();
        tokio::spawn(async move {
            while maps.changed().await.is_ok() {
                let map = maps.borrow_and_update().clone();
                if map.version == 0 {
                    continue;
                }
                let mut batch = LogBatch::new();
                batch.put_map(map.encode_to_vec().into());
                let (done, written) = tokio::sync::oneshot::channel();
                log.write(batch, move || {
                    let _ = done.send(());
                });
                lifecycle.follow(map);
                // One copy on its way at a time, however slow the disk.
                if written.await.is_err() {
                    return;
                }
            }
        });
    }

    /// Makes the meta shard's first replica here, unless there is or was one: finishes a Bootstrap that was cut off.
    pub fn found_meta(&self, state: &MetaState) {
        self.lifecycle.found_meta(state);
    }

    /// Whether a replica of every shard that the map gives this node is running.
    pub fn is_complete(&self) -> bool {
        self.lifecycle.is_complete()
    }

    /// Replicas that the map asks of this node and that it can never make.
    pub fn spent(&self) -> Vec<SpentReplica> {
        self.lifecycle.spent()
    }

    /// Whether the threads that must never end are running.
    pub fn is_alive(&self) -> bool {
        self.threads.iter().all(|(_, thread)| !thread.is_finished())
    }

    /// Ends the store and makes what was applied durable. Leaders should be away by now.
    pub fn stop(&self) {
        self.stopping.store(true, Relaxed);
        let _ = self.control.send(StoreInput::Stop);
        let _ = self.stop_flusher.send(());
        // The flusher ends behind its last flush; the others hold nothing that is not on disk or answered.
        if let Some((_, flusher)) = self.threads.iter().find(|(name, _)| *name == FLUSHER) {
            let limit = std::time::Instant::now() + Duration::from_secs(5);
            while !flusher.is_finished() && std::time::Instant::now() < limit {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Shows the watchdog that the runtime goes on.
async fn beat(meters: Arc<Meters>) {
    loop {
        meters.runtime.end();
        rhythm::rest(BEAT).await;
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, RecoveryError> {
    std::thread::Builder::new().name(name.into()).spawn(run).map_err(RecoveryError::Thread)
}
