//! What must hold at every moment of every run.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use granary_common::{
    ReplicaId, SLOTS, ShardId,
    log::{Entry, EntryKind, Position},
};
use granary_proto::{
    map::{ClusterMap, ReplicaRole},
    raft as wire,
    storage::MembershipEntry,
};
use granary_store::{Published, Role};
use prost::Message as _;

use crate::{disk::Disk, place::Place};

/// Entries that may be in flight behind a change of membership.
const NEAR: u64 = 64;

/// What an entry is: data and context, and the term of the one before it.
type Content = (Bytes, Bytes, Option<u64>);

/// A lease that some process believes in.
struct Held {
    replica: u64,
    term: u64,
    place: usize,
    /// In the world's time.
    until: u64,
}

/// See the module.
#[derive(Default)]
pub struct Checks {
    /// Who leads, by (shard, term).
    leaders: BTreeMap<(u32, u64), u64>,
    entries: BTreeMap<(u32, u64, u64), Content>,
    /// Every entry ever applied, with the membership behind it.
    applied: BTreeMap<(u32, u64), (u64, EntryKind, Bytes, wire::ConfState)>,
    /// Hash of a shard's rows by applied index.
    hashes: BTreeMap<(u32, u64), u64>,
    /// Where each replica began its life: (place, uuid of the disk).
    homes: BTreeMap<(u32, u64), (usize, String)>,
    leases: BTreeMap<u32, Vec<Held>>,
    /// Highest index of an acknowledged write.
    acknowledged: BTreeMap<u32, u64>,
    map_version: u64,
    /// Elections that were won.
    pub elections: u64,
    /// Entries that were committed.
    pub committed: u64,
    /// Rows of shards compared at equal index.
    pub compared: u64,
    /// Reads answered by a lease.
    pub lease_reads: u64,
    /// Reads answered by ReadIndex.
    pub index_reads: u64,
    /// When the last write was acknowledged.
    pub last_acknowledged_at: u64,
}

impl Checks {
    /// A message of a leader leaves, or a role is published: one leader a term.
    pub fn leads(&mut self, shard: u32, term: u64, replica: u64) {
        let elections = &mut self.elections;
        let leader = *self.leaders.entry((shard, term)).or_insert_with(|| {
            *elections += 1;
            replica
        });
        assert_eq!(leader, replica, "two leaders of shard {shard} in term {term}");
    }

    /// What a store published: one leader a term, and leases of two leaders never run at once.
    pub fn published(&mut self, now: u64, place: &Place, published: &Published) {
        let shard = published.shard.0;
        let leases = self.leases.entry(shard).or_default();
        leases.retain(|held| held.until > now && held.place != place.index);
        if published.gone || published.role != Role::Leader {
            return;
        }
        let until = place.clock.when(published.lease_until_ns);
        if published.lease_until_ns > 0 && until > now {
            if let Some(other) = leases.iter().find(|held| held.replica != published.replica.0) {
                panic!(
                    "leases of shard {shard} overlap: replica {} (term {}) at place {} until {}, and replica {} (term {}) \
                     at place {} until {until}, at {now}",
                    other.replica, other.term, other.place, other.until, published.replica, published.term, place.index
                );
            }
            leases.push(Held { replica: published.replica.0, term: published.term, place: place.index, until });
        }
        self.leads(shard, published.term, published.replica.0);
    }

    /// A process ended: its leases with it.
    pub fn process_ended(&mut self, place: usize) {
        for leases in self.leases.values_mut() {
            leases.retain(|held| held.place != place);
        }
    }

    /// Log matching: equal position, equal entry, and equal term before it.
    pub fn appended(&mut self, (shard, replica): (ShardId, ReplicaId), entries: &[Entry]) {
        let shard = shard.0;
        let mut before: Option<u64> = None;
        for entry in entries {
            let known = self
                .entries
                .entry((shard, entry.index, entry.term))
                .or_insert_with(|| (entry.data.clone(), entry.context.clone(), before));
            let same = (&known.0, &known.1) == (&entry.data, &entry.context);
            assert!(same, "two entries of shard {shard} at index {} of term {}", entry.index, entry.term);
            if let (Some(known), Some(before)) = (known.2, before) {
                assert_eq!(known, before, "logs match at {} of shard {shard} and differ before it", entry.index);
            }
            known.2 = known.2.or(before);
            before = Some(entry.term);
            if entry.kind == EntryKind::ConfChange && self.leaders.get(&(shard, entry.term)) == Some(&replica.0) {
                let change = MembershipEntry::decode(entry.context.clone()).unwrap_or_default();
                let mut outs = change.steps.iter().filter(|step| step.role() == ReplicaRole::Outgoing);
                assert!(outs.all(|step| step.replica_id != replica.0), "a leader proposes its own removal");
            }
        }
    }

    /// State machine safety: what is applied at an index is the same everywhere and for ever, and was on the disks of a
    /// quorum when it first was.
    pub fn applied(&mut self, shard: ShardId, entry: &Entry, conf: &wire::ConfState, places: &[Place]) {
        let now = (entry.term, entry.kind, &entry.data, conf);
        if let Some((term, kind, data, conf)) = self.applied.get(&(shard.0, entry.index)) {
            let same = (*term, *kind, data, conf) == now;
            assert!(same, "a committed entry of {shard} changed at index {}: {now:?}", entry.index);
            return;
        }
        self.applied.insert((shard.0, entry.index), (entry.term, entry.kind, entry.data.clone(), conf.clone()));
        self.committed += 1;
        let at = Position { index: entry.index, term: entry.term };
        let held = |conf: &wire::ConfState| {
            let halves = [&conf.voters, &conf.voters_outgoing].into_iter().filter(|half| !half.is_empty());
            halves
                .into_iter()
                .all(|half| half.iter().filter(|id| self.is_on_disk(shard, **id, at, places)).count() > half.len() / 2)
        };
        let from = (shard.0, entry.index.saturating_sub(NEAR));
        let mut near = self.applied.range(from..=(shard.0, entry.index));
        let safe = held(conf) || near.any(|(_, (.., conf))| held(conf));
        assert!(safe, "entry {} of {shard} is committed without a quorum of synced logs of {conf:?}", entry.index);
    }

    /// A replica without a log was put out by its group since, or its disk is gone; both needed a quorum of their own.
    fn is_on_disk(&self, shard: ShardId, replica: u64, at: Position, places: &[Place]) -> bool {
        let Some((place, uuid)) = self.homes.get(&(shard.0, replica)) else { return false };
        let disk = &places[*place].disk;
        let log = disk.synced.logs.get(&(shard, ReplicaId(replica))).filter(|_| disk.uuid == *uuid);
        log.is_none_or(|log| log.holds(at))
    }

    /// Equal index, equal rows.
    pub fn rows(&mut self, shard: ShardId, index: u64, hash: u64, place: usize) {
        let known = *self.hashes.entry((shard.0, index)).or_insert(hash);
        self.compared += 1;
        assert_eq!(known, hash, "the rows of {shard} at index {index} differ at place {place}");
    }

    /// Nothing is purged that a power cut could take from the state.
    pub fn purged(&self, (shard, replica): (ShardId, ReplicaId), to: Position, disk: &Disk) {
        let durable = disk.durable_index(shard);
        assert!(to.index <= durable, "replica {replica} of {shard} purges {} above the durable {durable}", to.index);
    }

    /// A replica begins to live; an id lives on one disk only.
    pub fn began(&mut self, (shard, replica): (ShardId, ReplicaId), place: usize, uuid: &str) {
        let home = self.homes.entry((shard.0, replica.0)).or_insert_with(|| (place, uuid.to_owned()));
        assert_eq!(*home, (place, uuid.to_owned()), "replica {replica} of {shard} lives twice");
    }

    /// A replica was made; its id was never made before.
    pub fn made(&mut self, (shard, replica): (ShardId, ReplicaId), place: usize, uuid: &str, again: bool) {
        let known = self.homes.contains_key(&(shard.0, replica.0));
        assert!(!known || again, "replica {replica} of {shard} is made a second time");
        self.began((shard, replica), place, uuid);
    }

    /// A write was acknowledged.
    pub fn acknowledged(&mut self, now: u64, shard: ShardId, index: u64) {
        let highest = self.acknowledged.entry(shard.0).or_default();
        *highest = index.max(*highest);
        self.last_acknowledged_at = now;
    }

    /// Highest index of an acknowledged write of a shard.
    pub fn highest_acknowledged(&self, shard: ShardId) -> u64 {
        self.acknowledged.get(&shard.0).copied().unwrap_or(0)
    }

    /// Each slot is owned by one shard; ids of replicas are unlike in the whole map.
    pub fn map(&mut self, map: &ClusterMap) {
        if map.version <= self.map_version {
            return;
        }
        self.map_version = map.version;
        let ranges: Vec<(u32, u32)> = map
            .shards
            .iter()
            .filter(|shard| shard.id != 0)
            .filter_map(|shard| Some((shard.range?.start, shard.range?.end)))
            .collect();
        if ranges.is_empty() {
            return;
        }
        let mut next = 0;
        for (start, end) in ranges {
            assert_eq!(start, next, "a slot is owned by none or by two shards in version {} of the map", map.version);
            next = end;
        }
        assert_eq!(next, u32::from(SLOTS), "slots from {next} on are owned by no shard");
        let mut seen = BTreeSet::new();
        for shard in &map.shards {
            let targets = shard.target.iter().flat_map(|target| &target.replicas);
            assert!(targets.into_iter().all(|replica| seen.insert(replica.id)), "an id of a replica is there twice");
        }
    }
}
