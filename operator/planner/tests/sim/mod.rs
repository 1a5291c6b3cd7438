//! A tiny world that obeys plans: no IO, no clock, seeded. Everything that no plan may do makes it panic.

#![allow(dead_code)]

pub mod chaos;
mod group;
pub mod sieve;
mod stops;

use std::collections::{BTreeSet, VecDeque};

use granary_planner::check::lint;
use granary_planner::observed::*;
use granary_planner::plan::{Move, Plan, Step};
use granary_planner::{Desired, Observed, plan};
use stops::Stops;

pub const ID: &str = "c0";
/// ms that pass in a round.
const ROUND_MS: u64 = 10_000;
/// ms of silence from which a node gets nothing new, as the planner has it: what others get meanwhile may be too much for
/// them once it is back.
const SILENT_MS: u64 = 10_000;
/// Rounds within which every world has to settle.
const ROUNDS: usize = 2000;
/// Rounds that a failure prints.
const HISTORY: usize = 20;

pub fn desired(replicas: u32, factor: u32, shards: u32) -> Desired {
    Desired {
        replicas,
        replication_factor: factor,
        shards,
        replace_after_ms: Some(300_000),
        paused: false,
        draining: Vec::new(),
    }
}

pub struct World {
    pub desired: Desired,
    /// The truth; what a plan is made from may be less (see `chaos`).
    pub observed: Observed,
    pub zones: u32,
    /// Replicas of data shards that targets gained so far.
    pub moved: usize,
    /// Nodes that nobody hears.
    pub dead: BTreeSet<u64>,
    /// Reservations, leases, and processes that come up.
    pub stops: Stops,
    /// Changes plans before they are obeyed, to show that a test finds it.
    pub tamper: Option<fn(&mut Plan)>,
    /// (shard, node) that targets gained and lost since the wish or the world last changed: nothing may be in both.
    gained: BTreeSet<(u32, u64)>,
    lost: BTreeSet<(u32, u64)>,
    /// How often one of them changed.
    eras: usize,
    /// Disks (by place) of nodes nobody hears that an operator has seen to be gone or empty: until then it knows less.
    seen_lost: BTreeSet<u32>,
    /// Nodes whose drain began since then: none may be cancelled.
    drained: BTreeSet<u64>,
    next_node: u64,
    seed: u64,
    /// The last rounds, for people who read a failure.
    history: VecDeque<(Plan, Observed)>,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (plan, observed) in &self.history {
                println!("----\n{plan}");
                for shard in observed.cluster.known().iter().flat_map(|cluster| &cluster.shards) {
                    let replicas: Vec<_> = shard.replicas.iter().map(|r| (r.node, r.role, r.caught_up)).collect();
                    println!("shard {} target {:?} leader {:?} {replicas:?}", shard.id, shard.target, shard.leader);
                }
            }
        }
    }
}

impl World {
    pub fn empty(desired: Desired, zones: u32, seed: u64) -> Self {
        let cluster = Seen::Unknown("no node runs".to_owned());
        let observed = Observed { cluster_id: None, founded: false, places: vec![], taken: vec![], cluster };
        Self {
            desired,
            observed,
            zones,
            moved: 0,
            dead: BTreeSet::new(),
            stops: Stops::default(),
            tamper: None,
            gained: BTreeSet::new(),
            lost: BTreeSet::new(),
            seen_lost: BTreeSet::new(),
            eras: 0,
            drained: BTreeSet::new(),
            next_node: 1,
            seed: seed | 1,
            history: VecDeque::new(),
        }
    }

    /// A settled world.
    pub fn settled(desired: Desired, zones: u32, seed: u64) -> Self {
        let mut world = Self::empty(desired, zones, seed);
        world.run();
        world.moved = 0;
        world
    }

    /// The wish or the world changed: what was done until now may be undone for a reason.
    pub fn new_era(&mut self) {
        self.drained.clear();
        self.members_changed();
    }

    /// Who sees for the first time that a silent node's disk is lost has a reason to undo what it did before; who sees
    /// it again after a look that told nothing has none.
    pub(super) fn notice_losses(&mut self, seen: &Observed) {
        let lost = |place: &&Place| matches!(place.disk, Seen::Fresh(Disk::Gone | Disk::Blank { .. }));
        let now: Vec<(u32, &str)> = seen.places.iter().filter(lost).map(|p| (p.index, p.name.as_str())).collect();
        let nodes = seen.cluster.known().map(|cluster| cluster.nodes.as_slice()).unwrap_or_default();
        let silent = |name: &str| nodes.iter().any(|node| node.name == name && self.dead.contains(&node.id));
        let now: BTreeSet<u32> = now.into_iter().filter(|(_, name)| silent(name)).map(|(index, _)| index).collect();
        if !now.is_subset(&self.seen_lost) {
            self.members_changed();
            self.seen_lost.extend(now);
        }
    }

    /// Replicas may be moved again for a reason.
    fn members_changed(&mut self) {
        self.eras += 1;
        self.gained.clear();
        self.lost.clear();
    }

    pub fn random(&mut self, below: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 20) as usize % below.max(1)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.random(100) < percent
    }

    pub fn cluster(&mut self) -> &mut Cluster {
        match &mut self.observed.cluster {
            Seen::Fresh(cluster) => cluster,
            _ => panic!("the cluster does not answer"),
        }
    }

    pub fn plan(&self) -> Plan {
        self.plan_from(&self.observed)
    }

    fn plan_from(&self, seen: &Observed) -> Plan {
        let mut plan = plan(&self.desired, seen);
        let problems = lint(&self.desired, seen, &plan);
        assert!(problems.is_empty(), "{problems:?}\n{plan}\n{seen:?}");
        self.tamper.iter().for_each(|tamper| tamper(&mut plan));
        let disruptive = plan.steps.iter().filter(|planned| planned.step.is_disruptive()).count();
        assert!(disruptive <= 1, "{plan}");
        if seen.founded && seen.cluster.fresh().is_none() {
            let harmless = |step: &Step| matches!(step, Step::StartNode { .. } | Step::RestartPlace { .. });
            let starts = plan.steps.iter().all(|planned| harmless(&planned.step));
            assert!(starts, "more than starts while the cluster does not answer:\n{plan}");
        }
        plan
    }

    /// Runs until settled, and checks that it stays so; panics when that takes too long.
    pub fn run(&mut self) {
        let mut last = String::new();
        for _ in 0..ROUNDS {
            let plan = self.plan();
            if plan.is_settled() && self.stays_settled() {
                return;
            }
            let plan = self.plan();
            last = plan.render();
            self.notice_losses(&self.observed.clone());
            self.apply(&plan);
            self.pass();
        }
        panic!("not settled after {ROUNDS} rounds:\n{last}");
    }

    /// Whether nothing is to be done later either. Nobody waits for the disk of a removed node to be seen, for that may never be:
    /// when it is seen after all, its place goes.
    fn stays_settled(&mut self) -> bool {
        let unseen = |place: &&Place| place.disk.fresh().is_none();
        let unseen: BTreeSet<u32> = self.observed.places.iter().filter(unseen).map(|place| place.index).collect();
        for _ in 0..5 {
            self.pass();
            let plan = self.plan();
            let late = |step: &Step| matches!(step, Step::RetirePlace { index } if unseen.contains(index));
            if !plan.steps.is_empty() && plan.steps.iter().all(|planned| late(&planned.step)) {
                return false;
            }
            assert!(plan.is_settled(), "settled, and then:\n{plan}");
        }
        true
    }

    pub fn apply(&mut self, plan: &Plan) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back((plan.clone(), self.observed.clone()));
        let eras = self.eras;
        for planned in &plan.steps {
            self.step(&planned.step);
        }
        // The steps behind a change were planned before it.
        if self.eras != eras {
            self.members_changed();
        }
    }

    fn place(&mut self, index: u32) -> &mut Place {
        self.observed.places.iter_mut().find(|place| place.index == index).expect("place")
    }

    /// The blank disk at this place becomes a new node.
    fn node(&mut self, index: u32) -> Node {
        let id = self.next_node;
        self.next_node += 1;
        let place = self.place(index);
        let Seen::Fresh(Disk::Blank { uuid: Some(uuid) }) = place.disk.clone() else { panic!("not blank: {place:?}") };
        place.disk = Seen::Fresh(Disk::Member { cluster_id: ID.to_owned(), node_id: id });
        let (name, domains) = (place.name.clone(), place.domains.clone());
        let (draining, read_only, leaders_away) = (false, false, false);
        let (damage, trouble) = (String::new(), String::new());
        let (silent_for_ms, heard) = (0, true);
        Node { id, name, uuid, draining, domains, silent_for_ms, heard, read_only, leaders_away, damage, trouble }
    }

    /// Who was admitted with this uuid is told so again; whether it was.
    fn finish_join(&mut self, index: u32) -> bool {
        let Seen::Fresh(Disk::Blank { uuid: Some(uuid) }) = self.place(index).disk.clone() else { return false };
        let admitted = self.cluster().nodes.iter().find(|node| node.uuid == uuid).map(|node| node.id);
        let Some(node_id) = admitted else { return false };
        self.place(index).disk = Seen::Fresh(Disk::Member { cluster_id: ID.to_owned(), node_id });
        self.hear(node_id);
        true
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::MintClusterId => self.observed.cluster_id = Some(ID.to_owned()),
            Step::StartNode { index } => self.start(*index),
            Step::Found { founders } => self.found(founders),
            Step::NoteFounded => self.observed.founded = true,
            Step::Join { index } if self.finish_join(*index) => {}
            Step::Join { index } => {
                let node = self.node(*index);
                self.cluster().nodes.push(node);
                self.members_changed();
            }
            Step::CreateShards { placements } => {
                assert_eq!(self.cluster().shards.len(), 1, "created twice");
                let new: Vec<Shard> = placements.iter().map(|(id, nodes)| group::shard(*id, nodes)).collect();
                self.cluster().shards.extend(new);
            }
            Step::Reconfigure { moves } => moves.iter().for_each(|change| self.reconfigure(change)),
            Step::TransferLeaders { transfers } => {
                for (shard, node) in transfers {
                    self.cluster().shards[*shard as usize].leader = Some(*node);
                }
            }
            Step::Drain { node } => {
                self.drained.insert(*node);
                self.members_changed();
                self.mark(*node, true);
            }
            Step::CancelDrain { node } => {
                assert!(!self.drained.contains(node), "the drain of node {node} is cancelled, with nothing changed");
                self.members_changed();
                self.mark(*node, false);
            }
            Step::RemoveNode { node } => self.remove(*node),
            Step::RetirePlace { index } => self.retire(*index),
            Step::ReserveStop { node } => self.reserve(*node),
            Step::LeadersAway { node } => self.leaders_away(*node),
            Step::ReleaseStop { node } => self.release(*node),
            Step::RestartPlace { index } => self.restart(*index),
        }
    }

    fn found(&mut self, founders: &[u32]) {
        assert!(self.observed.cluster.fresh().is_none(), "founded twice");
        let nodes: Vec<Node> = founders.iter().map(|index| self.node(*index)).collect();
        let on: Vec<u64> = nodes.iter().map(|node| node.id).collect();
        self.observed.cluster = Seen::Fresh(Cluster {
            cluster_id: ID.to_owned(),
            map_version: 1,
            replication_factor: self.desired.replication_factor,
            shard_count: self.desired.shards,
            nodes,
            shards: vec![group::shard(0, &on)],
            stop_reserved: None,
        });
    }

    fn reconfigure(&mut self, change: &Move) {
        let id = change.shard;
        let shard = &mut self.cluster().shards[id as usize];
        if shard.version != change.expected_version {
            return;
        }
        let reserved = self.cluster().stop_reserved;
        let shard = &mut self.cluster().shards[id as usize];
        let refused = |node: &u64| Some(*node) == reserved && !shard.replicas.iter().any(|r| r.node == *node);
        assert!(!change.nodes.iter().any(refused), "shard {id} goes to a node that is to stop");
        let held: Vec<u64> = shard.replicas.iter().map(|replica| replica.node).collect();
        let before = std::mem::replace(&mut shard.target, change.nodes.clone());
        for node in change.nodes.iter().copied().filter(|node| !before.contains(node)) {
            assert!(!self.lost.contains(&(id, node)), "shard {id} goes back to node {node}, with nothing changed");
            // What is turned back before it was left has moved nowhere, and frees whom it was on the way to.
            if !held.contains(&node) {
                self.gained.insert((id, node));
            }
            self.moved += usize::from(id != 0);
        }
        for node in before.into_iter().filter(|node| !change.nodes.contains(node)) {
            assert!(!self.gained.contains(&(id, node)), "shard {id} leaves node {node} again, with nothing changed");
            self.lost.insert((id, node));
        }
    }

    fn remove(&mut self, node: u64) {
        for shard in &self.cluster().shards {
            let needed = shard.target.contains(&node) || shard.replicas.iter().any(|replica| replica.node == node);
            assert!(!needed, "node {node} was removed from under {shard:?}");
        }
        self.cluster().nodes.retain(|other| other.id != node);
        self.dead.remove(&node);
        self.stops.sent_away.remove(&node);
    }

    fn retire(&mut self, index: u32) {
        let place = self.place(index).clone();
        let nodes = &self.cluster().nodes;
        let member = nodes.iter().any(|node| match place.disk {
            Seen::Fresh(Disk::Member { node_id, .. }) => node.id == node_id,
            _ => node.name == place.name,
        });
        assert!(!member, "the place of a member was retired: {place:?}");
        self.observed.places.retain(|place| place.index != index);
        self.stops.stuck.remove(&index);
        self.seen_lost.remove(&index);
        if self.stops.keeps {
            self.observed.taken.push(index);
        }
    }

    fn mark(&mut self, node: u64, draining: bool) {
        for other in self.cluster().nodes.iter_mut().filter(|other| other.id == node) {
            other.draining = draining;
        }
    }

    /// What an empty disk says at this place: no two lives of it say the same.
    pub(super) fn blank(&self, index: u32) -> Seen<Disk> {
        Seen::Fresh(Disk::Blank { uuid: Some(format!("uuid-{index}-{}", self.next_node)) })
    }

    fn start(&mut self, index: u32) {
        let blank = self.blank(index);
        if let Some(place) = self.observed.places.iter_mut().find(|place| place.index == index) {
            let stopped = place.process == Seen::Fresh(Process::Stopped);
            place.process = Seen::Fresh(Process::Running);
            match place.disk {
                Seen::Fresh(Disk::Member { node_id, .. }) if stopped => self.hear(node_id),
                Seen::Fresh(Disk::Member { .. }) => {}
                _ => place.disk = blank,
            }
            return;
        }
        assert!(!self.observed.taken.contains(&index), "the disk of place {index} was given up");
        let (process, disk) = if self.stops.slow || self.stops.broken {
            (Process::Starting, Seen::Stale(Disk::Blank { uuid: None }))
        } else {
            (Process::Running, blank)
        };
        if self.stops.broken {
            self.stops.stuck.insert(index);
        }
        let zone = if self.zones == 0 { String::new() } else { format!("z{}", index % self.zones) };
        self.observed.places.push(Place {
            index,
            name: format!("node-{index}"),
            process: Seen::Fresh(process),
            disk,
            peer_address: None,
            kv_address: None,
            domains: Domains { zone, machine: String::new() },
            restart: None,
            cordoned: false,
        });
        self.observed.places.sort_by_key(|place| place.index);
    }

    /// Time passes: some groups get a step further.
    pub fn pass(&mut self) {
        self.stops_pass();
        if self.observed.cluster.fresh().is_none() {
            return;
        }
        let dead = self.dead.clone();
        let limit = self.desired.replace_after_ms.unwrap_or(u64::MAX);
        let (mut lost, mut silent) = (false, false);
        for node in self.cluster().nodes.iter_mut().filter(|node| dead.contains(&node.id)) {
            node.silent_for_ms += ROUND_MS;
            lost |= (limit..limit.saturating_add(ROUND_MS)).contains(&node.silent_for_ms);
            silent |= (SILENT_MS..SILENT_MS + ROUND_MS).contains(&node.silent_for_ms);
        }
        if lost {
            self.new_era();
        } else if silent {
            self.members_changed();
        }
        for at in 0..self.cluster().shards.len() {
            if self.chance(70) {
                group::walk(&mut self.cluster().shards[at], &dead);
            }
        }
    }

    /// The node is not heard for so long already; its shards elect others.
    pub fn silence(&mut self, node: u64, ms: u64) {
        self.new_era();
        self.dead.insert(node);
        let dead = self.dead.clone();
        for other in self.cluster().nodes.iter_mut().filter(|other| other.id == node) {
            other.silent_for_ms = ms;
        }
        for shard in &mut self.cluster().shards {
            group::elect(shard, &dead);
        }
    }

    /// The node is heard again.
    pub fn hear(&mut self, node: u64) {
        self.new_era();
        self.dead.remove(&node);
        for other in self.cluster().nodes.iter_mut().filter(|other| other.id == node) {
            other.silent_for_ms = 0;
        }
    }

    pub fn place_of(&mut self, node: u64) -> Option<&mut Place> {
        let name = self.cluster().nodes.iter().find(|other| other.id == node)?.name.clone();
        self.observed.places.iter_mut().find(|place| place.name == name)
    }

    /// The node's disk is wiped: its process runs on an empty one.
    pub fn wipe(&mut self, node: u64) {
        self.silence(node, 5_000);
        let index = self.place_of(node).expect("place").index;
        self.seen_lost.remove(&index);
        self.place(index).disk = self.blank(index);
    }

    /// The node's disk is gone: its process waits for one that never comes.
    pub fn lose(&mut self, node: u64) {
        self.silence(node, 5_000);
        let index = self.place_of(node).expect("place").index;
        self.seen_lost.remove(&index);
        let place = self.place(index);
        (place.process, place.disk) = (Seen::Fresh(Process::Starting), Seen::Fresh(Disk::Gone));
    }

    /// (node, replicas, leaders) of data shards.
    pub fn counts(&mut self) -> Vec<(u64, usize, usize)> {
        let cluster = self.cluster();
        let data = || cluster.shards.iter().filter(|shard| shard.id != 0);
        let count = |id: u64| {
            let replicas = data().filter(|shard| shard.replicas.iter().any(|replica| replica.node == id)).count();
            (id, replicas, data().filter(|shard| shard.leader == Some(id)).count())
        };
        cluster.nodes.iter().map(|node| count(node.id)).collect()
    }

    /// Replicas of data shards on these nodes.
    pub fn held(&mut self, nodes: &[u64]) -> usize {
        self.counts().into_iter().filter(|(id, ..)| nodes.contains(id)).map(|(_, replicas, _)| replicas).sum()
    }

    /// Panics unless replicas and leaders are within 1.
    pub fn assert_even(&mut self) {
        let counts = self.counts();
        let spread = |of: fn(&(u64, usize, usize)) -> usize| {
            counts.iter().map(of).max().unwrap_or(0) - counts.iter().map(of).min().unwrap_or(0)
        };
        assert!(spread(|c| c.1) <= 1 && spread(|c| c.2) <= 1, "{counts:?}");
    }
}
