//! The applier: a thread that applies what is committed, many entries of many shards in one write, and answers their
//! callers behind it. It also installs, creates and empties replicas, in the order in which they were asked, so that
//! nothing applies beside them.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use granary_common::{META_SHARD, ReplicaId, ShardId, log::EntryKind};
use granary_engine::{
    DataStore, LogBatch,
    raft_store::LogId,
    snapshot::{InstallStep, Received, install_stepwise},
};
use granary_machine::{ApplyError, Overlay, View, kv, meta, shard};
use granary_proto::storage::{Command, MetaCommand, MetaState, ShardState};
use granary_store::{Apply, ApplyEntry, Event, Install};
use thiserror::Error;

use super::{
    Applied, AppliedTable, LogWriter, StoreError, StoreInput, Waiters, applied::AppliedReplica, fatal::fatal,
    log_writer::weight, pressure::Pressure,
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

#[derive(Debug, Error)]
enum Problem {
    #[error("entry {index} of {shard} does not decode: {source}")]
    Decode { shard: ShardId, index: u64, source: prost::DecodeError },
    #[error("{0} has entries to apply, but no state here")]
    NoState(ShardId),
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

struct Replica {
    id: ReplicaId,
    state: ShardState,
}

/// An answer that waits for the write.
type Answered = (u64, Result<Option<Applied>, StoreError>);

pub(crate) struct Applier {
    pub(crate) data: Arc<DataStore>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) applied: Arc<AppliedTable>,
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) store: Sender<StoreInput>,
    pub(crate) log: LogWriter,
    pub(crate) map: MapHolder,
    /// Stops an install behind a step, as a crash would: for tests.
    pub(crate) crash_at: Option<InstallStep>,
    replicas: HashMap<ShardId, Replica>,
    meta: Option<MetaState>,
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
            crash_at: parts.crash_at,
            replicas: HashMap::new(),
            meta: None,
        };
        for (id, state) in parts.replicas {
            applier.adopt(id, state);
        }
        applier.adopt_meta(parts.meta);
        applier
    }

    pub(crate) fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut next = Some(first);
            let mut batch = Vec::new();
            let mut bytes = 0;
            while let Some(job) = next.take() {
                match job {
                    Job::Apply(apply) => {
                        bytes += apply_weight(&apply);
                        batch.push(apply);
                    }
                    other => {
                        self.apply(std::mem::take(&mut batch), std::mem::take(&mut bytes));
                        self.other(other);
                    }
                }
                if batch.len() < MAX_JOBS && bytes < MAX_BYTES {
                    next = jobs.try_recv().ok();
                }
            }
            self.apply(batch, bytes);
        }
    }

    /// Applies all in one write; answers and tells the store behind it.
    fn apply(&mut self, batch: Vec<Apply>, bytes: usize) {
        if batch.is_empty() {
            return;
        }
        let data = self.data.clone();
        let view = data.view();
        let mut overlay = Overlay::new(&view);
        let mut answers: Vec<Answered> = Vec::new();
        let mut touched: Vec<ShardId> = Vec::new();
        for apply in batch {
            if !touched.contains(&apply.shard) {
                touched.push(apply.shard);
            }
            if let Err(error) = self.apply_entries(&mut overlay, apply, &mut answers) {
                fatal("applying an entry failed", &error);
            }
        }
        let mut meta_changed = false;
        for id in &touched {
            if let Some(replica) = self.replicas.get(id) {
                shard::save(&mut overlay, &replica.state);
            }
            if *id == META_SHARD
                && let Some(state) = &self.meta
            {
                meta::save(&mut overlay, state);
                meta_changed = true;
            }
        }
        if let Err(error) = self.data.write(&overlay.into_writes()) {
            fatal("writing the applied state failed", &error);
        }
        self.pressure.remove(bytes);
        for id in &touched {
            self.publish(*id);
        }
        if meta_changed {
            self.offer_map();
        }
        for (ticket, reply) in answers {
            self.waiters.answer(ticket, reply);
        }
        for shard in touched {
            if let Some(replica) = self.replicas.get(&shard) {
                let event = Event::Applied { shard, replica: replica.id, index: replica.state.applied_index };
                let _ = self.store.send(StoreInput::Event(event));
            }
        }
    }

    fn apply_entries(
        &mut self,
        overlay: &mut Overlay<'_, impl View>,
        apply: Apply,
        answers: &mut Vec<Answered>,
    ) -> Result<(), Problem> {
        let Some(replica) = self.replicas.get_mut(&apply.shard).filter(|replica| replica.id == apply.replica) else {
            return Err(Problem::NoState(apply.shard));
        };
        for ApplyEntry { entry, ticket, membership } in apply.entries {
            let state = &mut replica.state;
            let done = if entry.kind == EntryKind::ConfChange || entry.data.is_empty() {
                let turn = shard::advance(state, entry.index, entry.term)?;
                if let (shard::Turn::Next, Some(change)) = (turn, membership) {
                    state.conf_state = Some(change.conf_state);
                    state.group = Some(change.group);
                }
                None
            } else if apply.shard == META_SHARD {
                let meta = self.meta.as_mut().ok_or(Problem::NoState(META_SHARD))?;
                apply_meta(state, meta, &entry.data, entry.index, entry.term)?.map(Applied::Meta)
            } else {
                let command = decode::<Command>(apply.shard, entry.index, entry.data)?;
                kv::apply(overlay, state, &command, entry.index, entry.term)?.map(Applied::Data)
            };
            answers.extend(ticket.map(|ticket| (ticket, Ok(done))));
        }
        Ok(())
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
                self.replicas.remove(&shard);
                if shard == META_SHARD {
                    self.meta = None;
                }
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
            self.adopt_meta(meta);
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
            self.adopt_meta(meta);
        }
    }

    fn adopt(&mut self, id: ReplicaId, state: ShardState) {
        let shard = ShardId(state.shard_id);
        self.replicas.insert(shard, Replica { id, state });
        self.publish(shard);
    }

    fn adopt_meta(&mut self, meta: Option<MetaState>) {
        self.meta = meta;
    }

    fn publish(&self, shard: ShardId) {
        if let Some(Replica { id, state }) = self.replicas.get(&shard) {
            let range = shard::range(state);
            let at = AppliedReplica { replica: *id, index: state.applied_index, bytes: state.bytes, range };
            self.applied.set(shard, at);
        }
    }

    fn offer_map(&self) {
        if let Some(map) = self.meta.as_ref().and_then(|state| state.map.clone()) {
            self.map.offer(map);
        }
    }
}

fn apply_meta(
    state: &mut ShardState,
    meta: &mut MetaState,
    data: &Bytes,
    index: u64,
    term: u64,
) -> Result<Option<granary_proto::storage::MetaAnswer>, Problem> {
    if shard::advance(state, index, term)? == shard::Turn::Applied {
        return Ok(None);
    }
    let command = decode::<MetaCommand>(META_SHARD, index, data.clone())?;
    Ok(Some(meta::apply(meta, &command, index)?))
}

fn decode<M: prost::Message + Default>(shard: ShardId, index: u64, data: Bytes) -> Result<M, Problem> {
    M::decode(data).map_err(|source| Problem::Decode { shard, index, source })
}

/// Bytes that a job counts for in the queue.
pub(crate) fn apply_weight(apply: &Apply) -> usize {
    apply.entries.iter().map(|entry| weight(std::slice::from_ref(&entry.entry))).sum()
}
