//! The store itself: which group an event is for, and one drain for all groups.

use std::collections::{BTreeMap, BTreeSet};

use granary_common::{NodeId, ReplicaId, ShardId};

use crate::{
    action::{Actions, Answer, Persist},
    config::Config,
    event::{Event, Founding, Recovered},
    group::{Beat, Group, Leave},
    rng::Rng,
};

/// All groups of one node. See the crate's documentation.
pub struct Store {
    config: Config,
    rng: Rng,
    groups: BTreeMap<ShardId, Group>,
    /// Since the start.
    ticks: u64,
    /// Groups with something to collect.
    dirty: BTreeSet<ShardId>,
    /// Groups that have not quiesced.
    awake: BTreeSet<ShardId>,
    /// Groups of which something waits for entries to be applied.
    eager: BTreeSet<ShardId>,
    /// Groups whose proposals are held back until a batch is persisted.
    held: BTreeSet<ShardId>,
    /// A batch was persisted since the last drain.
    has_persisted: bool,
    next_batch: u64,
    /// Groups that wait for a batch, by its number.
    waiting: BTreeMap<u64, Vec<ShardId>>,
    away: bool,
    /// Nodes whose disks are slow.
    slow: BTreeSet<NodeId>,
    out: Actions,
}

impl Store {
    /// A store without groups.
    pub fn new(config: Config) -> Self {
        let rng = Rng::new(config.seed);
        Self {
            config,
            rng,
            groups: BTreeMap::new(),
            ticks: 0,
            dirty: BTreeSet::new(),
            awake: BTreeSet::new(),
            eager: BTreeSet::new(),
            held: BTreeSet::new(),
            has_persisted: false,
            next_batch: 1,
            waiting: BTreeMap::new(),
            away: false,
            slow: BTreeSet::new(),
            out: Actions::default(),
        }
    }

    /// The node it belongs to.
    pub fn node(&self) -> NodeId {
        self.config.node
    }

    /// Takes one event in. `now_ns` is CLOCK_BOOTTIME and never runs backwards.
    pub fn handle(&mut self, now_ns: u64, event: Event) {
        match event {
            Event::Tick => self.tick(now_ns),
            Event::Message(message) => {
                let Some(group) = self.groups.get_mut(&ShardId(message.shard_id)) else { return };
                self.dirty.insert(group.shard);
                group.message(&self.config, &mut self.rng, now_ns, message, &mut self.out);
            }
            Event::Propose { shard, ticket, data } => match self.groups.get_mut(&shard) {
                Some(group) => {
                    self.dirty.insert(shard);
                    group.propose(ticket, data, (&self.config, now_ns), &mut self.out);
                }
                None => self.out.answers.push((ticket, Answer::NoReplica)),
            },
            Event::Mark { shard, ticket, mark } => match self.groups.get_mut(&shard) {
                Some(group) => {
                    self.dirty.insert(shard);
                    group.mark(ticket, mark, (&self.config, now_ns), &mut self.out);
                }
                None => self.out.answers.push((ticket, Answer::NoReplica)),
            },
            Event::Read { shard, ticket } => match self.groups.get_mut(&shard) {
                Some(group) => {
                    self.dirty.insert(shard);
                    group.read(ticket, (&self.config, now_ns), &mut self.out);
                }
                None => self.out.answers.push((ticket, Answer::NoReplica)),
            },
            Event::Persisted { number } => self.persisted(number, now_ns),
            Event::Applied { shard, replica, index } => {
                if let Some(group) = of(&mut self.groups, shard, replica) {
                    self.dirty.insert(shard);
                    group.applied(index, &self.config);
                    group.answer_reads(&mut self.out);
                }
            }
            Event::Start { shard, replica, recovered, founding } => {
                self.start(now_ns, shard, replica, *recovered, founding);
            }
            Event::Stop { shard, replica } => {
                if of(&mut self.groups, shard, replica).is_some()
                    && let Some(group) = self.groups.remove(&shard)
                {
                    self.dirty.remove(&shard);
                    self.eager.remove(&shard);
                    self.awake.remove(&shard);
                    group.stop(&mut self.out);
                }
            }
            Event::LeadersAway { away } => {
                self.away = away;
                self.wake_leaders();
            }
            Event::SlowNodes { nodes } => {
                self.slow = nodes;
                self.wake_leaders();
            }
            Event::Wake { shard } => {
                if let Some(group) = self.groups.get_mut(&shard) {
                    self.dirty.insert(shard);
                    group.rouse(&self.config, now_ns, &mut self.out);
                }
            }
            Event::WakeAll => {
                for (shard, group) in &mut self.groups {
                    group.rouse(&self.config, now_ns, &mut self.out);
                    self.dirty.insert(*shard);
                }
            }
            Event::LeaseUsed { shard } => {
                if let Some(group) = self.groups.get_mut(&shard) {
                    group.lease_used();
                }
            }
            Event::Unreachable { node } => {
                for (shard, group) in &mut self.groups {
                    group.unreachable(&self.config, node);
                    self.dirty.insert(*shard);
                }
            }
            Event::Report => {
                for group in self.groups.values() {
                    group.report(&mut self.out);
                }
            }
            other => self.handle_of_group(now_ns, other),
        }
    }

    /// The rarer events of one group.
    fn handle_of_group(&mut self, now_ns: u64, event: Event) {
        let (shard, replica) = match &event {
            Event::Fetched { shard, replica, .. }
            | Event::SnapshotMade { shard, replica, .. }
            | Event::Installed { shard, replica, .. }
            | Event::Durable { shard, replica, .. }
            | Event::Rebuild { shard, replica } => (*shard, Some(*replica)),
            Event::Target { shard } => (ShardId(shard.id), None),
            Event::TransferLeader { shard, .. } | Event::SnapshotSent { shard, .. } => (*shard, None),
            _ => return,
        };
        let Some(group) = self.groups.get_mut(&shard) else { return };
        if replica.is_some_and(|replica| replica != group.replica) {
            return;
        }
        self.dirty.insert(shard);
        match event {
            Event::Fetched { id, entries, .. } => group.fetched(id, entries),
            Event::SnapshotMade { made, .. } => group.snapshot_made(made, &mut self.out),
            Event::Installed { group: membership, .. } => group.installed(membership, now_ns, &mut self.out),
            Event::Durable { index, .. } => group.durable(index),
            Event::Rebuild { .. } => group.rebuild(&mut self.out),
            Event::Target { shard } => group.target(shard),
            Event::TransferLeader { to, .. } => group.transfer(to),
            Event::SnapshotSent { to, accepted, .. } => group.snapshot_sent(to, accepted),
            _ => {}
        }
    }

    /// Whether a received snapshot of this name may still be asked for by [`Actions::installs`], after the drain behind its
    /// message: its group has taken it, and installs an earlier one first.
    pub fn awaits_snapshot(&self, shard: ShardId, snapshot_id: u64) -> bool {
        self.groups.get(&shard).is_some_and(|group| group.awaits_snapshot(snapshot_id))
    }

    /// Collects what all touched groups have ready: one batch to persist for all of them.
    pub fn drain(&mut self, now_ns: u64) -> Actions {
        let batch = self.next_batch;
        let mut items = Vec::new();
        let mut must_sync = false;
        let mut waits = Vec::new();
        // While writes are on their way, new ones would only wait behind them: they gather meanwhile, and share entries and
        // messages then. Group commit.
        let proposes = std::mem::take(&mut self.has_persisted) || self.waiting.is_empty();
        if proposes {
            self.dirty.append(&mut self.held);
        }
        for shard in std::mem::take(&mut self.dirty) {
            let Some(group) = self.groups.get_mut(&shard) else { continue };
            let before = items.len();
            if proposes {
                group.propose_gathered(&self.config, &mut self.out);
            } else if group.has_gathered() {
                self.held.insert(shard);
            }
            group.collect(batch, now_ns, &mut items, &mut must_sync, &mut self.out);
            if items.len() > before {
                waits.push(shard);
            }
            items.extend(group.purge(&self.config));
            group.publish(&self.config, now_ns, &mut self.out);
            match group.is_quiesced() {
                true => self.awake.remove(&shard),
                false => self.awake.insert(shard),
            };
            match group.awaits_applied() {
                true => self.eager.insert(shard),
                false => self.eager.remove(&shard),
            };
        }
        self.out.awaits_applied = !self.eager.is_empty();
        if !items.is_empty() {
            self.next_batch += 1;
            self.waiting.insert(batch, waits);
            self.out.persist = Some(Persist { number: batch, must_sync, items });
        }
        std::mem::take(&mut self.out)
    }

    /// Ticks from now on in which nothing is due unless something happens before: none, or some while all groups rest.
    pub fn idle_ticks(&self) -> u64 {
        let pace = self.config.quiesced_pace;
        if self.awake.is_empty() && self.dirty.is_empty() { pace - 1 - self.ticks % pace } else { 0 }
    }

    /// So many ticks have passed, of which those in which nothing was due are over by that; gives their number. To be told
    /// before what has happened since: a group that it wakes must not be in a hurry for the time that it slept through.
    pub fn skip_ticks(&mut self, passed: u64) -> u64 {
        let skipped = passed.min(self.idle_ticks());
        self.ticks += skipped;
        skipped
    }

    fn tick(&mut self, now_ns: u64) {
        self.ticks += 1;
        let beat = Beat::at(self.ticks, &self.config);
        let leave = Leave { must: self.away, slow: &self.slow };
        let all = self.ticks.is_multiple_of(self.config.quiesced_pace);
        if !all && self.awake.is_empty() {
            return;
        }
        for (shard, group) in &mut self.groups {
            if !all && group.is_quiesced() {
                continue;
            }
            if group.tick(&self.config, &mut self.rng, now_ns, leave, beat, &mut self.out) {
                self.dirty.insert(*shard);
            }
        }
    }

    /// Leaders have something to look at.
    fn wake_leaders(&mut self) {
        for (shard, group) in self.groups.iter_mut().filter(|(_, group)| group.leads()) {
            group.wake();
            self.dirty.insert(*shard);
        }
    }

    fn persisted(&mut self, number: u64, now_ns: u64) {
        self.has_persisted = true;
        while let Some(entry) = self.waiting.first_entry().filter(|entry| *entry.key() <= number) {
            let batch = *entry.key();
            for shard in entry.remove() {
                if let Some(group) = self.groups.get_mut(&shard) {
                    self.dirty.insert(shard);
                    group.persisted(batch, now_ns, &mut self.out);
                }
            }
        }
    }

    fn start(&mut self, now_ns: u64, shard: ShardId, replica: ReplicaId, recovered: Recovered, founding: Founding) {
        if self.groups.contains_key(&shard) {
            tracing::error!(shard = shard.0, "a second replica of one shard was to start here: refused");
            return;
        }
        match Group::start(&self.config, &mut self.rng, now_ns, (shard, replica), recovered, founding) {
            Ok(group) => {
                self.groups.insert(shard, group);
                self.awake.insert(shard);
                self.dirty.insert(shard);
            }
            Err(error) => tracing::error!(shard = shard.0, replica = replica.0, %error, "a group does not start"),
        }
    }
}

/// The group of this shard, if it is this replica.
fn of(groups: &mut BTreeMap<ShardId, Group>, shard: ShardId, replica: ReplicaId) -> Option<&mut Group> {
    groups.get_mut(&shard).filter(|group| group.replica == replica)
}
