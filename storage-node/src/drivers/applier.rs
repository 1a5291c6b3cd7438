//! The applier: a thread that applies what is committed, many entries of many shards in one write, and answers their
//! callers behind it. It also installs, creates and empties replicas, in the order in which they were asked, so that
//! nothing applies beside them.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use granary_common::{META_SHARD, ReplicaId, ShardId};
use granary_duties::states::{ReplicaState, States};
use granary_engine::{
    DataStore, LogBatch,
    raft_store::LogId,
    snapshot::{InstallStep, Received, install_stepwise},
};
use granary_machine::{Overlay, meta, shard};
use granary_proto::storage::{MetaState, ShardState};
use granary_store::{Apply, Event, Install};

use super::{
    AppliedTable, LogWriter, Marks, StoreInput, Waiters,
    applied::AppliedReplica,
    fatal::fatal,
    log_writer::weight,
    meters::Meters,
    pressure::Pressure,
    unhurried::{Unhurried, may_wait},
};
use crate::map::MapHolder;

/// Jobs that share one write at most.
const MAX_JOBS: usize = 512;
/// Bytes of entries behind which a write takes no further job.
const MAX_BYTES: usize = 4 << 20;

/// What the applier is asked, in order.
pub(crate) enum Job {
    Apply(Apply),
    Install(Box<(Install, Received)>),
    /// New replicas with their first state: (replica, state), and the meta shard's. Synced, then `done` is called.
    Create {
        replicas: Vec<(ReplicaId, ShardState)>,
        meta: Option<Box<MetaState>>,
        done: Box<dyn FnOnce() + Send>,
    },
    /// A replica that waits for its snapshot: what may be left of an older one goes.
    Empty {
        shard: ShardId,
        done: Box<dyn FnOnce() + Send>,
    },
}

pub(crate) struct Applier {
    pub(crate) data: Arc<DataStore>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) applied: Arc<AppliedTable>,
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) store: Sender<StoreInput>,
    pub(crate) log: LogWriter,
    pub(crate) map: MapHolder,
    pub(crate) meters: Arc<Meters>,
    pub(crate) marks: Arc<Marks>,
    /// Stops an install behind a step, as a crash would: for tests.
    pub(crate) crash_at: Option<InstallStep>,
    states: States,
    unhurried: Unhurried,
}

/// What the applier is given.
pub(crate) struct Parts {
    pub(crate) data: Arc<DataStore>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) applied: Arc<AppliedTable>,
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) store: Sender<StoreInput>,
    pub(crate) log: LogWriter,
    pub(crate) map: MapHolder,
    pub(crate) meters: Arc<Meters>,
    pub(crate) marks: Arc<Marks>,
    pub(crate) crash_at: Option<InstallStep>,
    pub(crate) replicas: Vec<(ReplicaId, ShardState)>,
    pub(crate) meta: Option<MetaState>,
}

impl Applier {
    pub(crate) fn new(parts: Parts) -> Self {
        let mut applier = Self {
            data: parts.data,
            waiters: parts.waiters,
            applied: parts.applied,
            pressure: parts.pressure,
            store: parts.store,
            log: parts.log,
            map: parts.map,
            meters: parts.meters,
            marks: parts.marks,
            crash_at: parts.crash_at,
            states: States::default(),
            unhurried: Unhurried::default(),
        };
        for (id, state) in parts.replicas {
            applier.adopt(id, state);
        }
        applier.states.adopt_meta(parts.meta);
        applier
    }

    pub(crate) fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let first = match self.unhurried.due() {
                Some(due) => jobs.recv_deadline(due),
                None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let first = match first {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.meters.apply.begin();
                    self.catch_up();
                    self.meters.apply.end();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.meters.apply.begin();
            let mut next = Some(first);
            let mut batch = Vec::new();
            let mut bytes = 0;
            while let Some(job) = next.take() {
                match job {
                    Job::Apply(apply) if apply.entries.iter().any(|entry| entry.entry.as_mark().is_some()) => {
                        self.apply(std::mem::take(&mut batch), std::mem::take(&mut bytes));
                        self.catch_up();
                        self.apply_marked(apply);
                    }
                    Job::Apply(apply) => {
                        let weight = apply_weight(&apply);
                        if may_wait(&apply) && batch.iter().all(|other: &Apply| other.shard != apply.shard) {
                            self.unhurried.push(apply, weight);
                        } else {
                            if self.unhurried.has(apply.shard) {
                                let (waited, weight) = self.unhurried.take();
                                batch.extend(waited);
                                bytes += weight;
                            }
                            bytes += weight;
                            batch.push(apply);
                        }
                    }
                    other => {
                        self.apply(std::mem::take(&mut batch), std::mem::take(&mut bytes));
                        self.catch_up();
                        self.meters.long.store(true, Relaxed);
                        self.other(other);
                        // Before it counts as short again: none of its time is that of what follows.
                        self.meters.apply.end();
                        self.meters.apply.begin();
                        self.meters.long.store(false, Relaxed);
                    }
                }
                if batch.len() < MAX_JOBS && bytes < MAX_BYTES {
                    next = jobs.try_recv().ok();
                }
            }
            self.apply(batch, bytes);
            if self.unhurried.due().is_some_and(|due| due <= Instant::now()) {
                self.catch_up();
            }
            self.meters.apply.end();
        }
    }

    /// Applies what has waited for company.
    fn catch_up(&mut self) {
        let (batch, bytes) = self.unhurried.take();
        self.apply(batch, bytes);
    }

    /// Applies all in one write; answers and tells the store behind it.
    fn apply(&mut self, batch: Vec<Apply>, bytes: usize) {
        if batch.is_empty() {
            return;
        }
        let batch = match self.states.apply(&self.data.view(), batch) {
            Ok(batch) => batch,
            Err(error) => fatal("applying an entry failed", &error),
        };
        if let Err(error) = self.data.write(&batch.writes) {
            fatal("writing the applied state failed", &error);
        }
        self.pressure.remove(bytes);
        for id in &batch.touched {
            self.publish(*id);
        }
        if batch.touched.contains(&META_SHARD) {
            self.offer_map();
        }
        for (ticket, applied) in batch.answers {
            self.waiters.answer(ticket, Ok(applied));
        }
        let mut awaited = false;
        for shard in batch.touched {
            if let Some(replica) = self.states.get(shard) {
                awaited |= self.applied.tell(shard, replica.id, replica.state.applied_index);
            }
        }
        if awaited {
            let _ = self.store.send(StoreInput::Applied);
        }
    }

    /// Applies in parts that end with a mark each, so that the rows can be read as they are at the mark.
    fn apply_marked(&mut self, apply: Apply) {
        let (shard, replica) = (apply.shard, apply.replica);
        let mut entries = apply.entries.into_iter().peekable();
        while entries.peek().is_some() {
            let (mut part, mut reached) = (Vec::new(), None);
            while reached.is_none()
                && let Some(entry) = entries.next()
            {
                reached = entry.entry.as_mark().map(|mark| (entry.entry.index, mark));
                part.push(entry);
            }
            let part = Apply { shard, replica, entries: part };
            let bytes = apply_weight(&part);
            self.apply(vec![part], bytes);
            let applied = self.states.get(shard).map(|replica| replica.state.applied_index);
            // One that was applied before says nothing: the rows are further on.
            if let Some((index, mark)) = reached.filter(|(index, _)| applied == Some(*index)) {
                self.marks.reached(shard, replica, index, mark);
            }
        }
    }

    fn other(&mut self, job: Job) {
        match job {
            Job::Apply(apply) => {
                let bytes = apply_weight(&apply);
                self.apply(vec![apply], bytes);
            }
            Job::Install(wanted) => self.install(wanted.0, wanted.1),
            Job::Create { replicas, meta, done } => {
                self.create(replicas, meta.map(|meta| *meta));
                done();
            }
            Job::Empty { shard, done } => {
                if let Err(error) = self.data.empty_shard(shard) {
                    fatal("emptying a shard failed", &error);
                }
                self.states.remove(shard);
                self.applied.remove(shard);
                done();
            }
        }
    }

    /// Data first, then the log: a crash between is repaired at start, which begins the log anew at the applied index.
    fn install(&mut self, install: Install, received: Received) {
        let (shard, state) = (install.shard, received.state().clone());
        let crash_at = self.crash_at;
        let mut crash = |step: InstallStep| {
            if crash_at == Some(step) {
                tracing::error!(?step, "ends here, as a test asked");
                std::process::abort();
            }
            Ok(())
        };
        if let Err(error) = install_stepwise(&self.data, received, &state, &mut crash) {
            fatal("installing a snapshot failed", &error);
        }
        let group = state.group.clone().unwrap_or_default();
        self.adopt(install.replica, state);
        if shard == META_SHARD {
            let meta = match meta::load(&self.data.view()) {
                Ok(meta) => meta,
                Err(error) => fatal("reading the installed state failed", &error),
            };
            self.states.adopt_meta(meta);
            self.offer_map();
        }
        let log = LogId { shard, replica: install.replica };
        let mut batch = LogBatch::new();
        batch.restart_log(log, install.position, install.hard_state);
        batch.append(log, install.entries);
        let store = self.store.clone();
        self.log.write(batch, move || {
            let _ = store.send(StoreInput::Event(Event::Installed { shard, replica: install.replica, group }));
        });
    }

    fn create(&mut self, replicas: Vec<(ReplicaId, ShardState)>, meta: Option<MetaState>) {
        let data = self.data.clone();
        let view = data.view();
        let mut overlay = Overlay::new(&view);
        for (_, state) in &replicas {
            shard::save(&mut overlay, state);
        }
        if let Some(state) = &meta {
            meta::save(&mut overlay, state);
        }
        if let Err(error) = self.data.write_synced(&overlay.into_writes()) {
            fatal("writing the first state of a shard failed", &error);
        }
        for (id, state) in replicas {
            self.adopt(id, state);
        }
        if meta.is_some() {
            self.states.adopt_meta(meta);
        }
    }

    fn adopt(&mut self, id: ReplicaId, state: ShardState) {
        let shard = ShardId(state.shard_id);
        self.states.adopt(id, state);
        self.publish(shard);
    }

    fn publish(&self, shard: ShardId) {
        if let Some(ReplicaState { id, state }) = self.states.get(shard) {
            let range = shard::range(state);
            let at = AppliedReplica { replica: *id, index: state.applied_index, bytes: state.bytes, range };
            self.applied.set(shard, at);
        }
    }

    fn offer_map(&self) {
        if let Some(map) = self.states.meta().and_then(|state| state.map.clone()) {
            self.map.offer(map);
        }
    }
}

/// Bytes that a job counts for in the queue.
pub(crate) fn apply_weight(apply: &Apply) -> usize {
    apply.entries.iter().map(|entry| weight(std::slice::from_ref(&entry.entry))).sum()
}
