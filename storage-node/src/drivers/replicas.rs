//! Which replicas live here: made from the cluster map, destroyed on their group's word.
//!
//! A replica's record is synced before its first message; a tombstone is synced before anything of it goes, so that an id
//! that was here once can never live here again (HAZARDS H2).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crossbeam_channel::Sender;
use granary_common::{META_SHARD, NodeId, ReplicaId, ShardId};
use granary_engine::{LogBatch, raft_store::LogId};
use granary_machine::shard;
use granary_proto::{
    map::{self, ClusterMap, ReplicaRole},
    storage::{MetaState, ReplicaRecord},
};
use granary_store::{Event, Founding, Recovered};
use parking_lot::Mutex;

use super::{
    Board, LogWriter, StoreInput,
    applier::Job,
    recovery::{FoundAll, tombstone},
};
use crate::map::MapHolder;

/// What a map asks of this node for one shard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) replica: ReplicaId,
    /// First voter of a new shard, made with state; else a learner that waits for its snapshot.
    pub(crate) founder: Option<map::Group>,
    pub(crate) preferred: bool,
}

/// Which replica this node shall make for `shard`, by the map alone.
pub(crate) fn wanted(node: NodeId, shard: &map::Shard) -> Option<Wanted> {
    let target = shard.target.as_ref()?;
    let group = shard.group.clone().unwrap_or_default();
    let mine = |replicas: &[map::Replica]| replicas.iter().find(|replica| replica.node_id == node.0).map(|r| r.id);
    // A founder that was away when its group moved on still belongs to it as a voter.
    let replica = mine(&target.replicas).or_else(|| mine(&group.replicas))?;
    // However far the group has moved on unheard: an id that never lived anywhere may begin as the first voter that it
    // is, like one that was asleep since. Begun empty by all of them, the shard would have a state nowhere.
    let is_founder = group.version == 1 && mine(&group.replicas) == Some(replica);
    let preferred = target.replicas.first().is_some_and(|first| first.node_id == node.0);
    Some(Wanted { replica: ReplicaId(replica), founder: is_founder.then_some(group), preferred })
}

/// Whether this node may make the replica, by what it remembers.
pub(crate) fn may_create(record: Option<&ReplicaRecord>, replica: ReplicaId) -> bool {
    record.is_none_or(|record| record.replica_id == 0 && replica.0 >= record.min_replica_id)
}

struct State {
    records: BTreeMap<ShardId, ReplicaRecord>,
    /// Shards with a creation or destruction under way.
    busy: BTreeSet<ShardId>,
    map: Arc<ClusterMap>,
}

/// Makes and destroys replicas, one step a shard at a time.
pub(crate) struct Lifecycle {
    node: NodeId,
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
        found: &FoundAll,
        applier: Sender<Job>,
        log: LogWriter,
        store: Sender<StoreInput>,
        board: Arc<Board>,
        holder: MapHolder,
    ) -> Arc<Self> {
        let state = State { records: found.records.clone(), busy: BTreeSet::new(), map: Arc::default() };
        Arc::new(Self { node, state: Mutex::new(state), applier, log, store, board, holder })
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
        let mut founders = Vec::new();
        let mut learners = Vec::new();
        {
            let mut state = self.state.lock();
            let map = state.map.clone();
            for shard in &map.shards {
                let id = ShardId(shard.id);
                let Some(wanted) = wanted(self.node, shard) else { continue };
                // Only Bootstrap brings the first state of the meta shard; everybody else gets it as a snapshot.
                let founder = wanted.founder.is_some() && (id != META_SHARD || meta.is_some());
                if state.busy.contains(&id) || !may_create(state.records.get(&id), wanted.replica) {
                    continue;
                }
                state.busy.insert(id);
                if founder {
                    founders.push((shard.clone(), wanted));
                } else {
                    learners.push((id, wanted));
                }
            }
        }
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
            let mut group = wanted.founder.unwrap_or_default();
            group.replicas.sort_unstable_by_key(|replica| replica.id);
            for replica in &mut group.replicas {
                replica.role = ReplicaRole::Voter.into();
            }
            let range = of_map.range.as_ref().map_or(granary_common::SlotRange::NONE, shard::range_of);
            states.push((wanted.replica, shard::new(id, range, group.clone())));
            let recovered = Recovered::founder(group);
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
        let min_replica_id = self.state.lock().records.get(&shard).map_or(0, |record| record.min_replica_id);
        ReplicaRecord {
            shard_id: shard.0,
            replica_id: replica.0,
            min_replica_id: min_replica_id.max(replica.0),
            founder,
            destroying: false,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(id: u64, node_id: u64) -> map::Replica {
        map::Replica { id, node_id, role: ReplicaRole::Voter.into() }
    }

    fn shard(number: u64, target: &[(u64, u64)], version: u64, group: &[(u64, u64)]) -> map::Shard {
        let replicas = |of: &[(u64, u64)]| of.iter().map(|(id, node)| replica(*id, *node)).collect();
        map::Shard {
            id: 7,
            range: None,
            target: Some(map::Target { number, replicas: replicas(target) }),
            group: Some(map::Group { version, replicas: replicas(group), joint: false }),
        }
    }

    #[test]
    fn a_first_voter_of_a_new_shard_is_made_with_state_and_the_first_of_them_campaigns() {
        let new = shard(1, &[(10, 1), (11, 2), (12, 3)], 1, &[(10, 1), (11, 2), (12, 3)]);
        let first = wanted(NodeId(1), &new);
        assert!(first.as_ref().is_some_and(|wanted| wanted.founder.is_some() && wanted.preferred));
        assert!(wanted(NodeId(2), &new).is_some_and(|wanted| wanted.founder.is_some() && !wanted.preferred));
        assert_eq!(wanted(NodeId(4), &new), None);
    }

    #[test]
    fn a_replica_of_a_group_that_has_moved_on_is_made_empty() {
        let moved = shard(2, &[(10, 1), (11, 2), (13, 4)], 3, &[(10, 1), (11, 2), (13, 4)]);
        assert!(wanted(NodeId(4), &moved).is_some_and(|wanted| wanted.founder.is_none()));
        assert!(wanted(NodeId(1), &moved).is_some_and(|wanted| wanted.founder.is_none()));
    }

    #[test]
    fn a_new_target_before_the_first_voters_are_made_does_not_leave_the_shard_without_a_state() {
        let early = shard(2, &[(10, 1), (11, 2), (13, 4)], 1, &[(10, 1), (11, 2), (12, 3)]);
        for node in 1..=3 {
            assert!(wanted(NodeId(node), &early).is_some_and(|wanted| wanted.founder.is_some()), "node {node}");
        }
        assert!(wanted(NodeId(4), &early).is_some_and(|wanted| wanted.founder.is_none()));
    }

    #[test]
    fn an_id_that_was_removed_here_is_never_made_again() {
        let before = ReplicaRecord { shard_id: 7, replica_id: 12, min_replica_id: 12, ..ReplicaRecord::default() };
        assert!(!may_create(Some(&before), ReplicaId(13)), "two replicas of one shard would live here");
        let gone = tombstone(&before);
        assert!(!may_create(Some(&gone), ReplicaId(12)));
        assert!(may_create(Some(&gone), ReplicaId(13)));
        assert!(may_create(None, ReplicaId(1)));
    }
}
