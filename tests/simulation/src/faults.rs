//! The nemesis: what goes wrong, when, and that it did. Each world announces some kinds of faults; all of them must happen.

use granary_common::{NodeId, ShardId};
use granary_machine::{meta, shard};
use granary_proto::{map::ClusterMap, storage::ShardState};

use crate::{
    network::{CLIENTS, Host, OPERATOR, Weather},
    operator::spec,
    rng::Rng,
    world::{MS, Shape, World},
};

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Messages are lost, come twice, overtake each other, are slow.
    BadNetwork,
    /// A node is cut off, both ways.
    Partition,
    /// A node is cut off, one way.
    OneWayCut,
    /// Two nodes do not reach each other.
    CutLink,
    /// kill -9.
    Crash,
    /// The power of one machine goes.
    PowerCut,
    /// The power of all goes at once.
    AllPowerCut,
    /// SIGSTOP, longer than a lease.
    Pause,
    /// In the middle of a read its thread is put aside for long, or the whole process is (SIGSTOP).
    PauseInRead,
    /// Syncs take long.
    SlowDisk,
    /// A sync fails, and the process ends.
    FailedSync,
    /// A crash in the middle of the next install of a snapshot.
    CutInstall,
    /// A disk is lost; an empty one takes its place.
    WipedDisk,
    /// The wall clock of a machine jumps.
    ClockJump,
    /// More nodes are asked for, or fewer.
    Scale,
    /// A node is drained by a person, and filled again.
    Drain,
    /// All nodes are to be started anew, one by one.
    RollingRestart,
    /// The operator ends in the middle, and another one starts.
    OperatorCrash,
    /// The operator stands still while another one takes over.
    TwoOperators,
    /// The operator's questions fail.
    SubstrateErrors,
}

/// All of them, with the count that shows that it happened.
pub const ALL: [(Fault, &str); 20] = [
    (Fault::BadNetwork, "bad network"),
    (Fault::Partition, "partition"),
    (Fault::OneWayCut, "one-way cut"),
    (Fault::CutLink, "cut link"),
    (Fault::Crash, "crash"),
    (Fault::PowerCut, "power cut"),
    (Fault::AllPowerCut, "power cut of all nodes"),
    (Fault::Pause, "pause"),
    (Fault::PauseInRead, "pause in a read"),
    (Fault::SlowDisk, "slow disk"),
    (Fault::FailedSync, "failed sync"),
    (Fault::CutInstall, "cut install"),
    (Fault::WipedDisk, "wiped disk"),
    (Fault::ClockJump, "clock jump"),
    (Fault::Scale, "scale"),
    (Fault::Drain, "drain"),
    (Fault::RollingRestart, "rolling restart"),
    (Fault::OperatorCrash, "operator crash"),
    (Fault::TwoOperators, "two operators"),
    (Fault::SubstrateErrors, "substrate errors"),
];

/// The count of a kind.
pub fn count_of(fault: Fault) -> &'static str {
    ALL.iter().find(|(kind, _)| *kind == fault).map_or("", |(_, name)| name)
}

/// With one copy, a lost disk is lost data; and there may be one node only.
fn needs_copies(fault: Fault) -> bool {
    matches!(fault, Fault::WipedDisk | Fault::CutLink)
}

/// Kinds that a world of this shape announces.
pub fn announce(rng: &mut Rng, shape: &Shape) -> Vec<Fault> {
    let wanted = rng.between(2, 9);
    let mut left: Vec<Fault> = ALL.iter().map(|(fault, _)| *fault).collect();
    let mut chosen = Vec::new();
    left.retain(|fault| shape.factor >= 3 || !needs_copies(*fault));
    for _ in 0..wanted {
        let at = rng.between(0, left.len() as u64) as usize;
        chosen.push(left.remove(at));
    }
    chosen
}

impl World {
    /// Lets a fault of this kind happen now, if it can.
    pub fn inject(&mut self, fault: Fault) {
        let Some(place) = self.any_running() else { return };
        let name = count_of(fault);
        match fault {
            Fault::BadNetwork => {
                self.network.weather = Weather {
                    drop: *self.rng.pick(&[0, 10_000, 100_000]),
                    duplicate: *self.rng.pick(&[0, 10_000, 100_000]),
                    reorder: *self.rng.pick(&[0, 20_000, 200_000]),
                    delay_ns: *self.rng.pick(&[MS, 3 * MS, 20 * MS]),
                };
                self.count(name);
                let length = self.rng.between(500, 5_000) * MS;
                self.after(length, "better weather", |world| world.network.weather = Weather::default());
            }
            Fault::Partition | Fault::OneWayCut => self.cut_off(place, fault == Fault::OneWayCut),
            Fault::CutLink => {
                let Some(other) = self.any_running().filter(|other| *other != place) else { return };
                self.count(name);
                self.note(|| format!("places {place} and {other} do not reach each other"));
                self.cut_for_a_while(vec![(place, other), (other, place)]);
            }
            Fault::Crash => {
                self.count(name);
                self.crash(place, false);
                self.start_later(place);
            }
            Fault::PowerCut => {
                self.count(name);
                self.crash(place, true);
                self.start_later(place);
            }
            Fault::AllPowerCut => {
                self.count(name);
                for place in 0..self.places.len() {
                    if self.places[place].exists {
                        self.crash(place, true);
                        self.start_later(place);
                    }
                }
            }
            Fault::Pause => {
                self.count(name);
                let length = self.rng.between(10, 3_000) * MS;
                self.pause(place, length);
            }
            Fault::PauseInRead => self.pauses_in_reads = 15_000,
            Fault::SlowDisk => {
                self.count(name);
                self.places[place].stalled_until = self.now + self.rng.between(50, 4_000) * MS;
            }
            Fault::FailedSync => {
                self.places[place].sync_fails = true;
                self.start_later(place);
            }
            Fault::CutInstall => {
                let step = self.rng.between(1, 3) as u8;
                for place in &mut self.places {
                    place.cut_install_at = Some(step);
                }
                for place in 0..self.places.len() {
                    self.start_later(place);
                }
                // Something has to move, or there is no install to cut.
                let moves = if self.rng.hits(500_000) { Fault::Scale } else { Fault::Drain };
                self.inject(moves);
            }
            Fault::WipedDisk => self.wipe_a_disk(),
            Fault::ClockJump => self.clock_jump(place),
            Fault::Scale => {
                let (factor, most) = (self.shape.factor, self.shape.factor + 2);
                let now = self.substrate.spec.as_ref().map_or(factor, |spec| spec.replicas as u32);
                // With each that leaves, a place is spent.
                let least = if self.retired() + 3 > self.spare() { now } else { factor };
                let nodes = self.rng.between(u64::from(least), u64::from(most) + 1) as u32;
                let nodes = if nodes == now && now > least { now - 1 } else { nodes };
                if nodes != now {
                    self.count(name);
                    let (shards, factor) = (self.shape.shards, self.shape.factor);
                    self.ask_for(spec(nodes, factor, shards));
                }
            }
            Fault::Drain => {
                self.count(name);
                if self.substrate.draining.is_empty() {
                    let node = self.places[place].disk.identity.as_ref().map_or(1, |identity| identity.node_id);
                    self.note(|| format!("node {node} shall be empty"));
                    self.substrate.draining = vec![node];
                } else {
                    self.substrate.draining.clear();
                }
            }
            Fault::RollingRestart => {
                self.count(name);
                for place in self.places.iter_mut().filter(|place| place.exists) {
                    place.restart = Some("image: granary:0.2.0".into());
                }
            }
            Fault::OperatorCrash => {
                if let Some(number) = self.substrate.operators.iter().next_back().copied() {
                    self.count(name);
                    self.end_operator(number);
                    let wait = self.rng.between(0, 3_000) * MS;
                    self.after(wait, "operator", |world| {
                        if world.substrate.operators.is_empty() {
                            world.start_operator();
                        }
                    });
                }
            }
            Fault::TwoOperators => {
                if let Some(number) = self.substrate.operators.iter().next_back().copied() {
                    self.count(name);
                    let until = self.now + self.rng.between(500, 15_000) * MS;
                    self.note(|| format!("operator {number} stands still"));
                    self.substrate.paused.insert(number, until);
                    self.resume_at(until);
                    self.start_operator();
                }
            }
            Fault::SubstrateErrors => {
                self.count(name);
                self.substrate.errors = *self.rng.pick(&[20_000, 200_000]);
                let length = self.rng.between(1_000, 8_000) * MS;
                self.after(length, "substrate well", |world| world.substrate.errors = 0);
            }
        }
    }

    fn any_running(&mut self) -> Option<usize> {
        let running: Vec<usize> = self
            .places
            .iter()
            .filter(|place| place.exists && place.process.is_some())
            .map(|place| place.index)
            .collect();
        if running.is_empty() { None } else { Some(*self.rng.pick(&running)) }
    }

    fn retired(&self) -> usize {
        self.places.iter().filter(|place| place.retired).count()
    }

    /// Places that may be given up in a run.
    fn spare(&self) -> usize {
        self.places.len() - self.shape.factor as usize - 2
    }

    fn start_later(&mut self, place: usize) {
        let wait = self.rng.between(1, 4_000) * MS;
        self.after(wait, "start", move |world| world.start(place));
    }

    fn cut_for_a_while(&mut self, pairs: Vec<(usize, usize)>) {
        self.network.cut.extend(pairs.iter().copied());
        let length = self.rng.between(100, 6_000) * MS;
        self.after(length, "heal", move |world| {
            for pair in pairs {
                world.network.cut.remove(&pair);
            }
        });
    }

    fn cut_off(&mut self, alone: usize, one_way: bool) {
        let inwards = self.rng.hits(500_000);
        let mut others: Vec<usize> = (0..self.places.len()).filter(|other| *other != alone).collect();
        if self.rng.hits(300_000) {
            others.push(OPERATOR);
        }
        if self.rng.hits(400_000) {
            others.push(self.any_client());
        }
        let mut pairs = Vec::new();
        for other in others {
            if !one_way || inwards {
                pairs.push((other, alone));
            }
            if !one_way || !inwards {
                pairs.push((alone, other));
            }
        }
        self.count(if one_way { "one-way cut" } else { "partition" });
        self.note(|| format!("place {alone} is cut off, one way {one_way}"));
        self.cut_for_a_while(pairs);
    }

    /// Of a leader rather than of anybody, and while a client waits for its answer: then what is remembered by time counts.
    fn clock_jump(&mut self, place: usize) {
        let leads = |place: &usize| {
            self.member(*place)
                .is_some_and(|member| (1..=self.shape.shards).any(|id| member.leads(ShardId(id)).is_some()))
        };
        let leaders: Vec<usize> = (0..self.places.len()).filter(leads).collect();
        let place = if leaders.is_empty() || self.rng.hits(300_000) { place } else { *self.rng.pick(&leaders) };
        if self.rng.hits(500_000) {
            let waits = self.any_client();
            self.cut_for_a_while(vec![(place, waits)]);
        }
        self.count(count_of(Fault::ClockJump));
        let ms = *self.rng.pick(&[-3_600_000, 3_600_000, -1_200_000, 1_200_000]);
        let wait = self.rng.between(0, 1_000) * MS;
        self.after(wait, "clock", move |world| {
            if world.stormy {
                world.note(|| format!("place {place}: its wall clock is set by {ms} ms"));
                world.places[place].clock.set_wall(ms);
            }
        });
    }

    fn any_client(&mut self) -> Host {
        let clients = self.clients.number.max(1) as u64;
        CLIENTS + self.rng.between(0, clients) as Host
    }

    /// At most one disk at a time: the next only when every shard is whole again.
    fn wipe_a_disk(&mut self) {
        if !self.is_whole() || !self.knows_its_nodes() {
            return;
        }
        let Some(place) = self.any_running().filter(|place| self.places[*place].disk.identity.is_some()) else {
            return;
        };
        self.count("wiped disk");
        self.note(|| format!("place {place}: its disk is lost"));
        self.crash(place, true);
        let shards = self.shape.shards;
        let World { places, rng, .. } = self;
        places[place].wipe(shards, rng);
        self.start_later(place);
    }

    /// The state of a shard that has come farthest, wherever it is.
    pub fn newest(&self, id: ShardId) -> Option<ShardState> {
        let states = self.places.iter().filter(|place| place.exists || place.process.is_some());
        let states = states.filter_map(|place| shard::load(place.disk.data.view(), id).ok().flatten());
        states.max_by_key(|state| state.applied_index)
    }

    /// Every shard has all its voters where they shall be, running, with all of its state.
    pub fn is_whole(&self) -> bool {
        (0..=self.shape.shards).map(ShardId).all(|id| {
            let Some(newest) = self.newest(id) else { return false };
            let group = newest.group.unwrap_or_default();
            !group.joint
                && group.replicas.len() == self.shape.factor as usize
                && group.replicas.iter().all(|replica| {
                    let place = self.place_of(NodeId(replica.node_id));
                    let running =
                        place.filter(|place| self.replica_at(*place, id).is_some_and(|at| at.0 == replica.id));
                    let stored = running.and_then(|place| shard::load(self.places[place].disk.data.view(), id).ok()?);
                    stored.is_some_and(|state| state.applied_index + 100 > newest.applied_index)
                })
        })
    }

    /// Every node of the map is there: none waits to be replaced.
    fn knows_its_nodes(&self) -> bool {
        self.newest_map().nodes.iter().all(|node| self.place_of(NodeId(node.id)).is_some())
    }

    /// The cluster map that has come farthest, wherever it is.
    fn newest_map(&self) -> ClusterMap {
        let metas = self.places.iter().filter_map(|place| meta::load(place.disk.data.view()).ok()??.map);
        metas.max_by_key(|map| map.version).unwrap_or_default()
    }

    /// Nothing is given up that a group still needs, nor the disk of a member.
    pub fn check_retired(&self, place: usize, node: u64) {
        let member = self.newest_map().nodes.iter().any(|member| member.id == node);
        assert!(!member, "place {place} is given up, and its node {node} is a member");
        for id in (0..=self.shape.shards).map(ShardId) {
            let group = self.newest(id).and_then(|state| state.group).unwrap_or_default();
            let needed = group.replicas.iter().any(|replica| replica.node_id == node);
            assert!(node == 0 || !needed, "place {place} is given up, but {id} has a replica on its node {node}");
        }
    }

    /// Ends every fault: what is to be finished now has to be.
    pub fn heal(&mut self) {
        self.note(|| "all faults end".into());
        self.stormy = false;
        self.pauses_in_reads = 0;
        self.network.weather = Weather::default();
        self.network.cut.clear();
        self.substrate.errors = 0;
        self.substrate.draining.clear();
        let now = self.now;
        for place in &mut self.places {
            (place.stalled_until, place.sync_fails, place.cut_install_at) = (0, false, None);
            place.paused_until = place.paused_until.min(now);
            place.clock.set_wall(0);
        }
        self.resume_at(now);
        if self.substrate.operators.is_empty() {
            self.start_operator();
        }
    }
}
