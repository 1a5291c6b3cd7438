//! Which replicas live on a node: what the map asks of it, what its records allow, and how a first voter begins.

use std::collections::{BTreeMap, BTreeSet};

use granary_common::{META_SHARD, NodeId, ReplicaId, ShardId, SlotRange};
use granary_machine::shard;
use granary_proto::{
    map::{self, ClusterMap, ReplicaRole},
    raft::SpentReplica,
    storage::{ReplicaRecord, ShardState},
};
use granary_store::Recovered;

/// What a map asks of this node for one shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The replica.
    pub replica: ReplicaId,
    /// First voter of a new shard, made with state; else a learner that waits for its snapshot.
    pub founder: Option<map::Group>,
    /// The first of the first voters: it campaigns at once.
    pub preferred: bool,
}

/// Which replica this node shall make for `shard`, by the map alone.
pub fn wanted(node: NodeId, shard: &map::Shard) -> Option<Wanted> {
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
pub fn may_create(record: Option<&ReplicaRecord>, replica: ReplicaId) -> bool {
    record.is_none_or(|record| record.replica_id == 0 && replica.0 >= record.min_replica_id)
}

/// Replicas that `map` asks of this node and that it can never make: their ids were used up here. A group that was led with
/// an older map than the one that named such a replica may have put it out before anybody told of it.
pub fn spent(node: NodeId, map: &ClusterMap, records: &BTreeMap<ShardId, ReplicaRecord>) -> Vec<SpentReplica> {
    let spent = |shard: &map::Shard| {
        let replica = wanted(node, shard)?.replica;
        let record = records.get(&ShardId(shard.id))?;
        let lives = record.replica_id == replica.0;
        let gone = !lives && replica.0 < record.min_replica_id;
        gone.then_some(SpentReplica { shard_id: shard.id, replica_id: replica.0 })
    };
    map.shards.iter().filter_map(spent).collect()
}

/// Replicas to be made.
#[derive(Debug, Default)]
pub struct Missing {
    /// With their first state.
    pub founders: Vec<(map::Shard, Wanted)>,
    /// Empty.
    pub learners: Vec<(ShardId, Wanted)>,
}

/// What of the map is not here and may be made; not what is `busy`. `brings_meta`: the first state of the meta shard is at
/// hand. Only Bootstrap brings it; everybody else gets it as a snapshot.
pub fn missing(
    node: NodeId,
    map: &ClusterMap,
    records: &BTreeMap<ShardId, ReplicaRecord>,
    busy: &BTreeSet<ShardId>,
    brings_meta: bool,
) -> Missing {
    let mut missing = Missing::default();
    for shard in &map.shards {
        let id = ShardId(shard.id);
        let Some(wanted) = wanted(node, shard) else { continue };
        if busy.contains(&id) || !may_create(records.get(&id), wanted.replica) {
            continue;
        }
        if wanted.founder.is_some() && (id != META_SHARD || brings_meta) {
            missing.founders.push((shard.clone(), wanted));
        } else {
            missing.learners.push((id, wanted));
        }
    }
    missing
}

/// How a first voter begins: its state, and where its log stands.
pub fn first_state(shard: &map::Shard, wanted: &Wanted) -> (ShardState, Recovered) {
    let mut group = wanted.founder.clone().unwrap_or_default();
    group.replicas.sort_unstable_by_key(|replica| replica.id);
    for replica in &mut group.replicas {
        replica.role = ReplicaRole::Voter.into();
    }
    let range = shard.range.as_ref().map_or(SlotRange::NONE, shard::range_of);
    (shard::new(ShardId(shard.id), range, group.clone()), Recovered::founder(group))
}

/// The record of a new replica of `shard`, of which `before` is known.
pub fn record(before: Option<&ReplicaRecord>, shard: ShardId, replica: ReplicaId, founder: bool) -> ReplicaRecord {
    let min_replica_id = before.map_or(0, |record| record.min_replica_id);
    ReplicaRecord {
        shard_id: shard.0,
        replica_id: replica.0,
        min_replica_id: min_replica_id.max(replica.0),
        founder,
        destroying: false,
    }
}

/// The record of a shard whose replica is gone for good.
pub fn tombstone(record: &ReplicaRecord) -> ReplicaRecord {
    ReplicaRecord {
        shard_id: record.shard_id,
        replica_id: 0,
        min_replica_id: record.min_replica_id.max(record.replica_id + 1),
        founder: false,
        destroying: false,
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
            group: Some(map::Group { version, replicas: replicas(group), joint: false, highest_replica_id: 0 }),
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

    #[test]
    fn an_id_that_the_map_asks_for_and_that_is_used_up_here_is_told_and_no_other_is() {
        let asked = ClusterMap {
            shards: vec![shard(4, &[(10, 1), (11, 2), (12, 3)], 6, &[(10, 1), (11, 2)])],
            ..ClusterMap::default()
        };
        let told = |node, record: ReplicaRecord| spent(NodeId(node), &asked, &BTreeMap::from([(ShardId(7), record)]));
        let lives = ReplicaRecord { shard_id: 7, replica_id: 12, min_replica_id: 12, ..ReplicaRecord::default() };
        let gone = tombstone(&lives);
        assert_eq!(told(3, gone), [SpentReplica { shard_id: 7, replica_id: 12 }]);
        assert_eq!(told(3, lives), [], "it is there");
        let older = ReplicaRecord { replica_id: 8, min_replica_id: 8, ..lives };
        assert_eq!(told(3, older), [], "it comes when the older one has gone");
        assert_eq!(told(3, tombstone(&older)), [], "it can be made");
        assert_eq!(told(4, gone), [], "nothing is asked of this node");
        assert_eq!(spent(NodeId(3), &asked, &BTreeMap::new()), []);
    }
}
