//! The applier: applies what is committed, many entries of many shards in one write, and answers their callers behind it;
//! installs, creates and empties replicas in the order in which that was asked.

use std::collections::BTreeMap;

use granary_common::{META_SHARD, ShardId, log::EntryKind};
use granary_machine::{Write, meta, rows, shard};
use granary_proto::raft::ConfState;
use granary_store::{Apply, ApplyEntry, Event, Install};
use prost::Message as _;

use super::{ApplierJob, Snapshot, lifecycle::Create};
use crate::{disk::Op, place::Place, world::World};

/// Jobs that share one write at most.
const MAX_JOBS: usize = 512;

impl World {
    pub(super) fn apply_later(&mut self, place: usize, job: ApplierJob) {
        if let Some(member) = self.member_mut(place) {
            member.applier.push_back(job);
            self.apply_soon(place);
        }
    }

    fn apply_soon(&mut self, place: usize) {
        let here = self.here(place);
        let Some(member) = self.member_mut(place) else { return };
        let Some(job) = member.applier.front() else { return };
        if member.applying {
            return;
        }
        member.applying = true;
        if let ApplierJob::Install(job) = job {
            let shard = job.0.shard;
            // The marker is synced, and what was there is gone, before the files come in.
            self.places[place].disk.begin_install(shard);
            if self.install_is_cut(place, 1) {
                return;
            }
            let takes = self.rng.between(self.places[place].speeds.install / 4, self.places[place].speeds.install * 2);
            self.after_in(here, takes, "installed", move |world| world.apply_next(place));
        } else {
            let takes = self.rng.between(self.places[place].speeds.apply / 8, self.places[place].speeds.apply * 2);
            self.after_in(here, takes, "applied", move |world| world.apply_next(place));
        }
    }

    /// A test ends the process behind this step of an install.
    fn install_is_cut(&mut self, place: usize, step: u8) -> bool {
        if self.places[place].cut_install_at != Some(step) {
            return false;
        }
        self.places[place].cut_install_at = None;
        self.count("cut install");
        self.note(|| format!("place {place}: ends at step {step} of an install"));
        self.crash(place, step == 2);
        true
    }

    fn apply_next(&mut self, place: usize) {
        let Some(member) = self.member_mut(place) else { return };
        match member.applier.pop_front() {
            Some(ApplierJob::Apply(first)) => {
                let mut batch = vec![first];
                while batch.len() < MAX_JOBS {
                    match member.applier.pop_front() {
                        Some(ApplierJob::Apply(next)) => batch.push(next),
                        Some(other) => {
                            member.applier.push_front(other);
                            break;
                        }
                        None => break,
                    }
                }
                self.apply(place, batch);
            }
            Some(ApplierJob::Install(job)) => self.install(place, job.0, job.1),
            Some(ApplierJob::Create(create)) => self.create(place, *create),
            Some(ApplierJob::Empty(shard, done)) => {
                self.places[place].disk.empty_shard(shard);
                if let Some(member) = self.member_mut(place) {
                    member.states.remove(shard);
                }
                done(self);
            }
            None => {}
        }
        if let Some(member) = self.member_mut(place) {
            member.applying = false;
            self.apply_soon(place);
        }
    }

    fn apply(&mut self, place: usize, batch: Vec<Apply>) {
        self.check_entries(place, &batch);
        let Place { disk, process, .. } = &mut self.places[place];
        let Some(member) = process.as_mut().and_then(|process| process.member.as_mut()) else {
            return;
        };
        let batch = match member.states.apply(disk.data.view(), batch) {
            Ok(batch) => batch,
            Err(error) => panic!("place {place}: applying an entry failed: {error}"),
        };
        disk.write_data(batch.writes);
        let moved: Vec<_> = batch.touched.iter().filter_map(|shard| Some((*shard, member.applied(*shard)?))).collect();
        let map = member.states.meta().and_then(|meta| meta.map.clone());
        for (shard, (_, index)) in &moved {
            let hash = self.places[place].disk.data.hash(*shard);
            self.checks.rows(*shard, *index, hash, place);
        }
        if batch.touched.contains(&META_SHARD)
            && let Some(map) = map
        {
            self.checks.map(&map);
            self.offer_map(place, map);
        }
        for (ticket, applied) in batch.answers {
            if let Some(member) = self.member_mut(place) {
                member.answer(ticket, Ok(applied));
            }
        }
        for (shard, (replica, index)) in moved {
            self.event(place, Event::Applied { shard, replica, index });
        }
    }

    fn check_entries(&mut self, place: usize, batch: &[Apply]) {
        let mut known: BTreeMap<ShardId, (u64, ConfState)> = BTreeMap::new();
        for apply in batch {
            let Some(replica) = self.member(place).and_then(|member| member.states.get(apply.shard)) else { continue };
            let stored = || (replica.state.applied_index, replica.state.conf_state.clone().unwrap_or_default());
            let (mut applied, mut conf) = known.remove(&apply.shard).unwrap_or_else(stored);
            for ApplyEntry { entry, tickets, membership } in &apply.entries {
                if entry.index <= applied {
                    continue;
                }
                applied = entry.index;
                // A change of members is committed by the members before it.
                self.checks.applied(apply.shard, entry, &conf, &self.places);
                if let Some(change) = membership.as_ref().filter(|_| entry.kind == EntryKind::ConfChange) {
                    conf = change.conf_state.clone();
                }
                if !tickets.is_empty() {
                    self.checks.acknowledged(self.now, apply.shard, entry.index);
                }
            }
            known.insert(apply.shard, (applied, conf));
        }
    }

    /// Data first, then the log.
    fn install(&mut self, place: usize, install: Install, snapshot: Snapshot) {
        let (id, state) = (install.shard, snapshot.state);
        let at = (state.applied_index, state.applied_term);
        assert_eq!(at, (install.position.index, install.position.term), "a snapshot is not what its message says");
        let mut writes: Vec<Write> = snapshot.rows.as_ref().clone();
        writes.push(Write::Put { key: rows::shard_key(id), value: state.encode_to_vec().into() });
        writes.push(Write::Delete { key: rows::installing_key(id) });
        self.places[place].disk.write_data_synced(writes);
        let hash = self.places[place].disk.data.hash(id);
        assert_eq!(hash, snapshot.hash, "what was installed is not what was sent");
        self.checks.rows(id, state.applied_index, hash, place);
        self.count("installed snapshot");
        if self.install_is_cut(place, 2) {
            return;
        }
        let group = state.group.clone().unwrap_or_default();
        let meta = (id == META_SHARD).then(|| meta::load(self.places[place].disk.data.view()).ok().flatten()).flatten();
        let Some(member) = self.member_mut(place) else { return };
        member.states.adopt(install.replica, state);
        if id == META_SHARD {
            let map = meta.as_ref().and_then(|meta| meta.map.clone());
            member.states.adopt_meta(meta);
            if let Some(map) = map {
                self.offer_map(place, map);
            }
        }
        let log = (id, install.replica);
        let mut ops = vec![Op::Restart(log, install.position, install.hard_state)];
        if !install.entries.is_empty() {
            ops.push(Op::Append(log, install.entries));
        }
        self.write_log(place, ops, true, move |world| {
            world.event(place, Event::Installed { shard: id, replica: install.replica, group });
        });
    }

    fn create(&mut self, place: usize, create: Create) {
        let mut writes = Vec::new();
        for (_, state) in &create.replicas {
            let key = rows::shard_key(ShardId(state.shard_id));
            writes.push(Write::Put { key, value: state.encode_to_vec().into() });
        }
        if let Some(meta) = &create.meta {
            writes.push(Write::Put { key: rows::meta_key(), value: meta.encode_to_vec().into() });
        }
        self.places[place].disk.write_data_synced(writes);
        let Some(member) = self.member_mut(place) else { return };
        let mut made = Vec::new();
        for (id, state) in create.replicas {
            made.push((ShardId(state.shard_id), state.applied_index));
            member.states.adopt(id, state);
        }
        if create.meta.is_some() {
            member.states.adopt_meta(create.meta);
        }
        for (id, index) in made {
            let hash = self.places[place].disk.data.hash(id);
            self.checks.rows(id, index, hash, place);
        }
        (create.done)(self);
    }

    /// Applied state becomes durable; the indexes are read before the flush.
    pub(super) fn flush_later(&mut self, place: usize) {
        let here = self.here(place);
        let wait = self.rng.between(100, 1_100) * crate::world::MS;
        self.after_in(here, wait, "flush", move |world| {
            let Some(member) = world.member(place) else { return };
            let shards: Vec<ShardId> = member.board.keys().copied().collect();
            let before: Vec<_> = shards.iter().filter_map(|shard| Some((*shard, member.applied(*shard)?))).collect();
            let writes = world.places[place].disk.unflushed();
            let takes = world.rng.between(0, world.places[place].speeds.flush * 2);
            let here = world.here(place);
            world.after_in(here, takes, "flushed", move |world| {
                world.places[place].disk.flush(writes);
                for (shard, (replica, index)) in before {
                    world.event(place, Event::Durable { shard, replica, index });
                }
                world.flush_later(place);
            });
        });
    }

    /// Whether a shard has a state here.
    pub fn has_state(&self, place: usize, id: ShardId) -> bool {
        shard::load(self.places[place].disk.data.view(), id).ok().flatten().is_some()
    }
}
