//! A process's begin and end: a start from what is on the disk, becoming a member, a crash, a graceful stop.

use std::{collections::BTreeMap, rc::Rc};

use granary_common::NodeId;
use granary_duties::{admission::Standing, states::States, view::View};
use granary_machine::meta;
use granary_proto::{
    map::Addresses,
    raft::Sender,
    storage::{Identity, MetaState},
};
use granary_store::{Config, Event, Founding, Store};

use super::{Member, Process};
use crate::{
    operator::{kv_address, peer_address},
    tasks::Owner,
    world::{Bell, MS, World},
};

impl World {
    /// Starts a process at a place, unless one runs.
    pub fn start(&mut self, place: usize) {
        let now = self.now;
        let of = &mut self.places[place];
        if of.process.is_some() || !of.exists {
            return;
        }
        of.epoch += 1;
        of.disk.incarnation += 1;
        of.paused_until = 0;
        of.forced_votes.clear();
        of.process = Some(Process { epoch: of.epoch, started_at: now, becoming: false, member: None });
        let identity = of.disk.identity.clone();
        self.note(|| format!("place {place}: starts, {}", if identity.is_some() { "a member" } else { "blank" }));
        if let Some(identity) = identity {
            self.start_member(place, identity, None);
            self.connections_break(place, self.member(place).map_or(NodeId(0), Member::id));
        }
    }

    /// Everything that a member has.
    pub(super) fn start_member(&mut self, place: usize, identity: Identity, founding: Option<MetaState>) {
        let seed = self.rng.draw();
        let boot = self.boot_ns(place);
        let of = &mut self.places[place];
        let config = Config { node: NodeId(identity.node_id), seed, ..of.store.clone() };
        let tick = config.tick_ns;
        let found = of.disk.recover(config.memory_entries);
        let mut store = Store::new(config);
        let mut states = States::default();
        let mut restarted = std::collections::BTreeSet::new();
        for found in found {
            let (shard, replica) = found.log;
            restarted.insert(replica.0);
            self.checks.began((shard, replica), place, &of.disk.uuid);
            if found.recovered.data_lost {
                *self.counts.entry("state lost in a power cut").or_default() += 1;
            }
            if let Some(state) = found.state {
                states.adopt(replica, state);
            }
            let recovered = Box::new(found.recovered);
            store.handle(boot, Event::Start { shard, replica, recovered, founding: Founding::Restarted });
        }
        let stored = meta::load(of.disk.data.view()).expect("a state that can be read");
        let kept = of.disk.raft.map.clone().unwrap_or_default();
        let newest = match stored.as_ref().and_then(|meta| meta.map.clone()) {
            Some(map) if map.version > kept.version => Rc::new(map),
            _ => kept,
        };
        states.adopt_meta(stored);
        let standings: BTreeMap<NodeId, Standing> = of
            .disk
            .raft
            .incarnations
            .iter()
            .map(|(node, highest)| (*node, Standing { highest: *highest, ..Standing::default() }))
            .collect();
        let sender = Sender {
            cluster_id: identity.cluster_id.clone(),
            node_id: identity.node_id,
            uuid: identity.uuid.clone(),
            incarnation: of.disk.incarnation,
            addresses: Some(Addresses { kv: kv_address(place), peer: peer_address(place) }),
            process: self.rng.draw(),
        };
        let records = of.disk.raft.records.clone();
        let epoch = of.epoch;
        let member = Member {
            identity,
            sender,
            store,
            board: BTreeMap::new(),
            states,
            map: newest,
            restarted,
            leaving: false,
            view: View::default(),
            told_leader: None,
            told_leaders: Vec::new(),
            records,
            busy: Default::default(),
            lifecycle_map: Rc::default(),
            standings,
            waiters: BTreeMap::new(),
            next_ticket: 0,
            log: Default::default(),
            writing: false,
            writing_since: 0,
            applier: Default::default(),
            applying: false,
            offered: BTreeMap::new(),
            inbox: BTreeMap::new(),
            next_snapshot: 0,
            undecided: Vec::new(),
            turning: false,
            next_tick_ns: boot + tick,
            maps: Bell::default(),
            following: Bell::default(),
            changes: Bell::default(),
            heard: Bell::default(),
            reports: Vec::new(),
        };
        if let Some(process) = &mut of.process {
            process.member = Some(member);
        }
        if let Some(state) = founding {
            self.found_meta(place, state);
        }
        self.tick_later(place);
        self.flush_later(place);
        self.start_tasks(place, epoch);
        self.event(place, Event::Report);
    }

    /// The process ends at once. With `power`, what was not synced may be gone too.
    pub fn crash(&mut self, place: usize, power: bool) {
        if self.places[place].process.is_none() && !power {
            return;
        }
        self.note(|| format!("place {place}: ends, power cut {power}"));
        self.cut_log(place);
        let node = self.member(place).map(Member::id);
        let of = &mut self.places[place];
        let process = of.process.take();
        of.held.clear();
        (of.paused_until, of.stalled_until, of.sync_fails) = (0, 0, false);
        let epoch = of.epoch;
        drop(process);
        self.checks.process_ended(place);
        self.end_tasks(Owner::Process { place, epoch });
        if power {
            let (log_lost, data_lost) = {
                let of = &mut self.places[place];
                of.clock.reboot(self.now, &mut self.rng);
                of.disk.cut_power(&mut self.rng)
            };
            if log_lost {
                self.count("torn tail of raft/");
            }
            if data_lost {
                self.count("unsynced writes of data/ lost");
            }
        } else if let Some(node) = node {
            // The kernel says so for it; a machine without power cannot.
            self.connections_break(place, node);
        }
    }

    /// A graceful stop: leaders go, applied state is synced, the process ends; `then` it may be started anew.
    pub fn stop_gracefully(&mut self, place: usize, then: impl FnOnce(&mut World) + 'static) {
        let Some(member) = self.member_mut(place) else {
            self.crash(place, false);
            return then(self);
        };
        member.leaving = true;
        self.event(place, Event::LeadersAway { away: true });
        let wait = self.rng.between(200, 1_500) * MS;
        let epoch = self.places[place].epoch;
        self.after(wait, "stop", move |world| {
            if world.places[place].epoch == epoch && world.process(place).is_some() {
                world.places[place].disk.flush(usize::MAX);
                world.crash(place, false);
            }
            then(world);
        });
    }
}
