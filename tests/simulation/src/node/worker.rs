//! Slow reads for the store, and snapshots on their way.

use std::rc::Rc;

use granary_common::{ReplicaId, ShardId, log::Position};
use granary_proto::raft::raft_message::Body;
use granary_store::{Event, Fetch, SendSnapshot, SnapshotMade};

use super::Snapshot;
use crate::world::{MS, World};

impl World {
    pub(super) fn fetch(&mut self, place: usize, fetch: Fetch) {
        let (here, takes) = (self.here(place), self.rng.between(MS / 10, 3 * MS));
        self.after_in(here, takes, "fetched", move |world| {
            let log = world.places[place].disk.raft.logs.get(&(fetch.shard, fetch.replica));
            let mut bytes = 0;
            let entries = log.filter(|log| log.truncated.index < fetch.low).map_or(Vec::new(), |log| {
                let wanted = log.entries.range(fetch.low..fetch.high).map(|(_, entry)| entry.clone());
                wanted
                    .take_while(|entry| {
                        let first = bytes == 0;
                        bytes += entry.weight() as u64;
                        first || bytes <= fetch.max_bytes
                    })
                    .collect()
            });
            let Fetch { shard, replica, id, .. } = fetch;
            world.event(place, Event::Fetched { shard, replica, id, entries });
        });
    }

    /// State and rows come from one view.
    pub(super) fn export(&mut self, place: usize, shard: ShardId, replica: ReplicaId) {
        let (here, takes) = (self.here(place), self.rng.between(MS, 20 * MS));
        self.after_in(here, takes, "exported", move |world| {
            let exported = world.places[place].disk.export(shard);
            let hash = world.places[place].disk.data.hash(shard);
            let Some(member) = world.member_mut(place) else { return };
            let made = exported.map(|(state, rows)| {
                member.next_snapshot += 1;
                let position = Position { index: state.applied_index, term: state.applied_term };
                let conf_state = state.conf_state.clone().unwrap_or_default();
                let snapshot = Snapshot { state, rows: Rc::new(rows), hash };
                member.offered.insert(member.next_snapshot, snapshot);
                SnapshotMade { id: member.next_snapshot, position, conf_state }
            });
            world.count("made snapshot");
            world.event(place, Event::SnapshotMade { shard, replica, made });
        });
    }

    /// The files, then the message. Any failure is one answer, no.
    pub(super) fn send_snapshot(&mut self, place: usize, wanted: SendSnapshot) {
        let here = self.here(place);
        let files = self.member(place).and_then(|member| member.offered.get(&wanted.snapshot_id)).cloned();
        let to = self.route(place, wanted.to);
        let takes = self.rng.between(MS, 200 * MS);
        let lost = self.stormy && self.rng.hits(100_000);
        self.after_in(here, takes, "snapshot", move |world| {
            let both_ways = |world: &World, to| world.network.passes(place, to) && world.network.passes(to, place);
            let arrived = match (files, to) {
                (Some(files), Some(to)) if both_ways(world, to) && !lost => world.receive(place, to, &wanted, files),
                _ => false,
            };
            world.count(if arrived { "sent snapshot" } else { "failed snapshot" });
            // Nobody hears of one whose connection was cut until nothing has moved for a while.
            let wait = if arrived { MS } else { world.rng.between(MS, 3_000 * MS) };
            let (shard, to) = (ShardId(wanted.message.shard_id), ReplicaId(wanted.message.to_replica));
            world.after_in(here, wait, "snapshot sent", move |world| {
                world.event(place, Event::SnapshotSent { shard, to, accepted: arrived });
            });
        });
    }

    fn receive(&mut self, from: usize, to: usize, wanted: &SendSnapshot, files: Snapshot) -> bool {
        let Some(sender) = self.member(from).map(|member| member.sender.clone()) else { return false };
        let meant = self.member(to).is_some_and(|member| member.id() == wanted.to);
        if !meant || self.now < self.places[to].paused_until || !self.admit(to, &sender) {
            return false;
        }
        let Some(member) = self.member_mut(to) else { return false };
        member.next_snapshot += 1;
        let id = member.next_snapshot;
        member.inbox.insert(id, files);
        let mut message = wanted.message.clone();
        if let Some(Body::Raft(raft)) = &mut message.body
            && let Some(snapshot) = &mut raft.snapshot
        {
            snapshot.snapshot_id = id;
        }
        member.undecided.push((ShardId(message.shard_id), id));
        self.event(to, Event::Message(message));
        true
    }
}
