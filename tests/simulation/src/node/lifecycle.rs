//! Which replicas live here: made from the map, destroyed on their group's word; as `drivers/replicas` does it.

use std::rc::Rc;

use granary_common::{ReplicaId, ShardId};
use granary_duties::{
    map::is_newer,
    replicas::{Wanted, first_state, missing, record, tombstone},
};
use granary_proto::{
    map::{self, ClusterMap},
    storage::{MetaState, ReplicaRecord, ShardState},
};
use granary_store::{Event, Founding, Recovered};

use super::ApplierJob;
use crate::{
    disk::Op,
    world::{Deed, World},
};

/// New replicas with their first state.
pub struct Create {
    pub(super) replicas: Vec<(ReplicaId, ShardState)>,
    pub(super) meta: Option<MetaState>,
    pub(super) done: Deed,
}

impl World {
    /// A newer map is kept, and followed.
    pub(super) fn offer_map(&mut self, place: usize, map: ClusterMap) {
        let Some(member) = self.member_mut(place) else { return };
        if is_newer(&member.map, &map) {
            member.map = Rc::new(map);
            member.maps.ring();
            member.following.ring();
        }
    }

    /// A newer map: makes what is missing, and tells the store every target.
    pub(super) fn follow(&mut self, place: usize, map: Rc<ClusterMap>) {
        let Some(member) = self.member_mut(place) else { return };
        member.lifecycle_map = map.clone();
        self.make_missing(place, None);
        for shard in &map.shards {
            self.event(place, Event::Target { shard: shard.clone() });
        }
    }

    /// The meta shard's first replica, with its first state, as Bootstrap gives it.
    pub(super) fn found_meta(&mut self, place: usize, state: MetaState) {
        let Some(member) = self.member_mut(place) else { return };
        if let Some(map) = &state.map {
            if member.lifecycle_map.version < map.version {
                member.lifecycle_map = Rc::new(map.clone());
            }
            self.make_missing(place, Some(state));
        }
    }

    fn make_missing(&mut self, place: usize, meta: Option<MetaState>) {
        let Some(member) = self.member_mut(place) else { return };
        let map = member.lifecycle_map.clone();
        let wanted = missing(member.id(), &map, &member.records, &member.busy, meta.is_some());
        member.busy.extend(wanted.founders.iter().map(|(shard, _)| ShardId(shard.id)));
        member.busy.extend(wanted.learners.iter().map(|(shard, _)| *shard));
        if !wanted.founders.is_empty() {
            self.make_founders(place, wanted.founders, meta);
        }
        for (shard, wanted) in wanted.learners {
            self.make_learner(place, shard, wanted.replica);
        }
    }

    fn make_founders(&mut self, place: usize, founders: Vec<(map::Shard, Wanted)>, meta: Option<MetaState>) {
        let (mut ops, mut starts, mut replicas) = (Vec::new(), Vec::new(), Vec::new());
        for (shard, wanted) in founders {
            let (id, replica) = (ShardId(shard.id), wanted.replica);
            let (state, recovered) = first_state(&shard, &wanted);
            replicas.push((replica, state));
            ops.push(Op::Restart((id, replica), recovered.truncated, recovered.hard_state));
            ops.push(Op::Record(self.record(place, id, replica, true)));
            starts.push((id, replica, recovered, Founding::Founder { preferred: wanted.preferred }));
        }
        let founded = meta.as_ref().and_then(|meta| meta.map.clone());
        let done = Box::new(move |world: &mut World| {
            world.write_log(place, ops, true, move |world| {
                if let Some(map) = founded {
                    world.offer_map(place, map);
                }
                for (id, replica, recovered, founding) in starts {
                    world.begin(place, id, replica, recovered, founding);
                }
            });
        });
        self.apply_later(place, ApplierJob::Create(Box::new(Create { replicas, meta, done })));
    }

    fn make_learner(&mut self, place: usize, shard: ShardId, replica: ReplicaId) {
        let ops = vec![Op::Record(self.record(place, shard, replica, false))];
        self.write_log(place, ops, true, move |world| {
            world.begin(place, shard, replica, Recovered::default(), Founding::Learner);
        });
    }

    fn record(&self, place: usize, shard: ShardId, replica: ReplicaId, founder: bool) -> ReplicaRecord {
        record(self.member(place).and_then(|member| member.records.get(&shard)), shard, replica, founder)
    }

    fn begin(&mut self, place: usize, shard: ShardId, replica: ReplicaId, recovered: Recovered, founding: Founding) {
        let founder = matches!(founding, Founding::Founder { .. });
        let record = self.record(place, shard, replica, founder);
        let uuid = self.places[place].disk.uuid.clone();
        self.checks.made((shard, replica), place, &uuid, false);
        self.note(|| format!("place {place}: {shard} has the new replica {replica} ({founding:?})"));
        let Some(member) = self.member_mut(place) else { return };
        member.records.insert(shard, record);
        member.busy.remove(&shard);
        self.event(place, Event::Start { shard, replica, recovered: Box::new(recovered), founding });
        let map = self.member(place).map(|member| member.lifecycle_map.clone()).unwrap_or_default();
        if let Some(shard) = map.shards.iter().find(|known| known.id == shard.0) {
            self.event(place, Event::Target { shard: shard.clone() });
        }
    }

    /// The group says that this replica is out: tombstone, then data, then log.
    pub(super) fn destroy(&mut self, place: usize, shard: ShardId, replica: ReplicaId) {
        let Some(member) = self.member_mut(place) else { return };
        let Some(record) = member.records.get(&shard).filter(|record| record.replica_id == replica.0).copied() else {
            return;
        };
        member.busy.insert(shard);
        self.count("destroyed replica");
        self.note(|| format!("place {place}: replica {replica} of {shard} goes"));
        let ops = vec![Op::Record(ReplicaRecord { destroying: true, ..record })];
        self.write_log(place, ops, true, move |world| {
            world.event(place, Event::Stop { shard, replica });
            let done = Box::new(move |world: &mut World| {
                let tombstone = tombstone(&record);
                let ops = vec![Op::Delete((shard, replica)), Op::Record(tombstone)];
                world.write_log(place, ops, true, move |world| {
                    if let Some(member) = world.member_mut(place) {
                        member.records.insert(shard, tombstone);
                        member.busy.remove(&shard);
                    }
                    world.make_missing(place, None);
                });
            });
            world.apply_later(place, ApplierJob::Empty(shard, done));
        });
    }
}
