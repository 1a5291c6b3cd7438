//! Which replicas live here: made from the cluster map, destroyed on their group's word.
//!
//! A replica's record is synced before its first message; a tombstone is synced before anything of it goes, so that an id
//! that was here once can never live here again (HAZARDS H2).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crossbeam_channel::Sender;
use granary_common::{NodeId, ReplicaId, ShardId};
use granary_duties::replicas::{Missing, Wanted, first_state, missing, record, spent, tombstone, wanted};
use granary_engine::{LogBatch, Stores, raft_store::LogId};
use granary_proto::{
    map::{self, ClusterMap},
    raft::SpentReplica,
    storage::{MetaState, ReplicaRecord},
};
use granary_store::{Event, Founding, LostLog, Recovered};
use parking_lot::Mutex;

use super::{
    Board, LogWriter, StoreInput,
    applier::Job,
    fatal::{fatal, unfit},
    recovery::{FoundAll, without_state},
};
use crate::map::MapHolder;

struct State {
    records: BTreeMap<ShardId, ReplicaRecord>,
    /// Shards with a creation or destruction under way.
    busy: BTreeSet<ShardId>,
    map: Arc<ClusterMap>,
}

/// Makes and destroys replicas, one step a shard at a time.
pub(crate) struct Lifecycle {
    node: NodeId,
    stores: Stores,
    state: Mutex<State>,
    applier: Sender<Job>,
    log: LogWriter,
    store: Sender<StoreInput>,
    board: Arc<Board>,
    holder: MapHolder,
}

impl Lifecycle {
    pub(crate) fn new(
        node: NodeId,
        (found, stores): (&FoundAll, Stores),
        applier: Sender<Job>,
        log: LogWriter,
        store: Sender<StoreInput>,
        board: Arc<Board>,
        holder: MapHolder,
    ) -> Arc<Self> {
        let state = State { records: found.records.clone(), busy: BTreeSet::new(), map: Arc::default() };
        Arc::new(Self { node, stores, state: Mutex::new(state), applier, log, store, board, holder })
    }

    /// A newer map: tells the store every target and makes what is missing.
    pub(crate) fn follow(self: &Arc<Self>, map: Arc<ClusterMap>) {
        self.state.lock().map = map.clone();
        self.make_missing(None);
        for shard in &map.shards {
            self.event(Event::Target { shard: shard.clone() });
        }
    }

    /// The meta shard's first replica, with its first state, as Bootstrap gives it.
    pub(crate) fn found_meta(self: &Arc<Self>, state: &MetaState) {
        if let Some(map) = &state.map {
            {
                let mut own = self.state.lock();
                if own.map.version < map.version {
                    own.map = Arc::new(map.clone());
                }
            }
            self.make_missing(Some(state));
        }
    }

    fn event(&self, event: Event) {
        let _ = self.store.send(StoreInput::Event(event));
    }

    /// All founders of one map are made with one write to each store.
    fn make_missing(self: &Arc<Self>, meta: Option<&MetaState>) {
        let Missing { founders, learners } = {
            let mut state = self.state.lock();
            let missing = missing(self.node, &state.map, &state.records, &state.busy, meta.is_some());
            state.busy.extend(missing.founders.iter().map(|(shard, _)| ShardId(shard.id)));
            state.busy.extend(missing.learners.iter().map(|(id, _)| *id));
            missing
        };
        if !founders.is_empty() {
            self.make_founders(founders, meta);
        }
        for (id, wanted) in learners {
            self.make_learner(id, wanted);
        }
    }

    fn make_founders(self: &Arc<Self>, founders: Vec<(map::Shard, Wanted)>, meta: Option<&MetaState>) {
        let mut batch = LogBatch::new();
        let mut starts = Vec::new();
        let mut states = Vec::new();
        for (of_map, wanted) in founders {
            let id = ShardId(of_map.id);
            let (state, recovered) = first_state(&of_map, &wanted);
            states.push((wanted.replica, state));
            let log = LogId { shard: id, replica: wanted.replica };
            batch.restart_log(log, recovered.truncated, recovered.hard_state);
            batch.put_record(self.record(id, wanted.replica, true));
            starts.push((id, wanted.replica, recovered, Founding::Founder { preferred: wanted.preferred }));
        }
        let this = self.clone();
        let founded = meta.and_then(|meta| meta.map.clone());
        let write_log = move || {
            let log = this.log.clone();
            log.write(batch, move || {
                // Not before the record: a map on disk says that the founding is done, and a meta shard that was not
                // there would be waited for as one that comes from others.
                founded.map(|map| this.holder.offer(map));
                for (shard, replica, recovered, founding) in starts {
                    this.started(shard, replica, true);
                    this.event(Event::Start { shard, replica, recovered: Box::new(recovered), founding });
                    this.tell_target(shard);
                }
            });
        };
        let job = Job::Create { replicas: states, meta: meta.cloned().map(Box::new), done: Box::new(write_log) };
        let _ = self.applier.send(job);
    }

    fn make_learner(self: &Arc<Self>, shard: ShardId, wanted: Wanted) {
        let replica = wanted.replica;
        let mut batch = LogBatch::new();
        batch.put_record(self.record(shard, replica, false));
        let this = self.clone();
        self.log.write(batch, move || {
            this.started(shard, replica, false);
            let recovered = Box::new(Recovered::default());
            this.event(Event::Start { shard, replica, recovered, founding: Founding::Learner });
            this.tell_target(shard);
        });
    }

    fn record(&self, shard: ShardId, replica: ReplicaId, founder: bool) -> ReplicaRecord {
        record(self.state.lock().records.get(&shard), shard, replica, founder)
    }

    fn started(&self, shard: ShardId, replica: ReplicaId, founder: bool) {
        let record = self.record(shard, replica, founder);
        let mut state = self.state.lock();
        state.records.insert(shard, record);
        state.busy.remove(&shard);
    }

    fn tell_target(&self, id: ShardId) {
        let map = self.state.lock().map.clone();
        if let Some(shard) = map.shards.iter().find(|shard| shard.id == id.0) {
            self.event(Event::Target { shard: shard.clone() });
        }
    }

    /// The group says that this replica is out: tombstone, then data, then log; then the shard may come again under a
    /// new id.
    pub(crate) fn destroy(self: &Arc<Self>, shard: ShardId, replica: ReplicaId) {
        let record = {
            let mut state = self.state.lock();
            let Some(record) = state.records.get(&shard).filter(|record| record.replica_id == replica.0).copied()
            else {
                return;
            };
            state.busy.insert(shard);
            record
        };
        tracing::info!(shard = shard.0, replica = replica.0, "this replica is out of its group: removing it");
        let mut batch = LogBatch::new();
        batch.put_record(ReplicaRecord { destroying: true, ..record });
        let this = self.clone();
        self.log.write(batch, move || this.empty(shard, replica, record));
    }

    fn empty(self: Arc<Self>, shard: ShardId, replica: ReplicaId, record: ReplicaRecord) {
        self.event(Event::Stop { shard, replica });
        let this = self.clone();
        let done = Box::new(move || {
            let tombstone = tombstone(&record);
            let mut batch = LogBatch::new();
            batch.delete_log(LogId { shard, replica });
            batch.put_record(tombstone);
            let log = this.log.clone();
            log.write(batch, move || {
                {
                    let mut state = this.state.lock();
                    state.records.insert(shard, tombstone);
                    state.busy.remove(&shard);
                }
                this.make_missing(None);
            });
        });
        let _ = self.applier.send(Job::Empty { shard, done });
    }

    /// This disk has lost what it had said to be synced. Whatever it holds may lack a vote or an entry that others count on,
    /// so the node ends, and never starts from it again.
    pub(crate) fn lost_log(&self, lost: LostLog) -> ! {
        let LostLog { shard, replica, last, acknowledged } = lost;
        let why = format!(
            "raft/: the log of {shard} {replica} ends at entry {last}, and this node has acknowledged entry {acknowledged}: its disk \
             has lost what it had said to be synced"
        );
        if let Err(error) = self.stores.raft.note_loss(&why) {
            fatal("noting that the disk has lost synced entries failed", &error);
        }
        unfit(&why)
    }

    /// The state of this replica is not that of its group: throws it away, and starts the replica anew as one that has lost
    /// it. Its log and its vote stay, so nothing that it promised is forgotten; a crash in between comes to the same.
    pub(crate) fn rebuild(self: &Arc<Self>, shard: ShardId, replica: ReplicaId) {
        {
            let mut state = self.state.lock();
            let lives = state.records.get(&shard).is_some_and(|record| record.replica_id == replica.0);
            if !lives || !state.busy.insert(shard) {
                return;
            }
        }
        tracing::warn!(shard = shard.0, replica = replica.0, "the state of this replica comes anew from its group");
        let this = self.clone();
        // Behind all that its group wanted written.
        self.log.write(LogBatch::new(), move || {
            this.event(Event::Stop { shard, replica });
            let again = this.clone();
            let done = Box::new(move || again.start_without_state(shard, replica));
            let _ = this.applier.send(Job::Empty { shard, done });
        });
    }

    fn start_without_state(&self, shard: ShardId, replica: ReplicaId) {
        let recovered = match without_state(&self.stores, LogId { shard, replica }) {
            Ok(recovered) => Box::new(recovered),
            Err(error) => fatal("reading the log of a replica that is rebuilt failed", &error),
        };
        self.state.lock().busy.remove(&shard);
        self.event(Event::Start { shard, replica, recovered, founding: Founding::Restarted });
        self.tell_target(shard);
    }

    /// Replicas that the map asks of this node and that it can never make.
    pub(crate) fn spent(&self) -> Vec<SpentReplica> {
        let state = self.state.lock();
        spent(self.node, &state.map, &state.records)
    }

    /// Whether a replica of every shard that the map gives this node is running.
    pub(crate) fn is_complete(&self) -> bool {
        let state = self.state.lock();
        state.busy.is_empty()
            && state
                .map
                .shards
                .iter()
                .all(|shard| wanted(self.node, shard).is_none_or(|_| self.board.get(ShardId(shard.id)).is_some()))
    }
}
