//! A tiny world that obeys plans: no IO, no clock, seeded. It moves groups through learner, joint and done as nodes do.

#![allow(dead_code)]

use granary_planner::check::lint;
use granary_planner::observed::*;
use granary_planner::plan::{Plan, Step};
use granary_planner::{Desired, Observed, plan};

pub const ID: &str = "c0";

pub fn desired(replicas: u32, factor: u32, shards: u32) -> Desired {
    Desired {
        replicas,
        replication_factor: factor,
        shards,
        replace_after_ms: Some(300_000),
        paused: false,
        draining: Default::default(),
    }
}

pub struct World {
    pub desired: Desired,
    pub observed: Observed,
    pub zones: u32,
    /// Replicas that targets gained so far.
    pub moved: usize,
    next_node: u64,
    seed: u64,
}

impl World {
    pub fn empty(desired: Desired, zones: u32, seed: u64) -> Self {
        let cluster = Seen::Unknown("no node runs".to_owned());
        let observed = Observed { cluster_id: None, founded: false, places: vec![], cluster };
        Self { desired, observed, zones, moved: 0, next_node: 1, seed: seed | 1 }
    }

    /// A settled world.
    pub fn settled(desired: Desired, zones: u32, seed: u64) -> Self {
        let mut world = Self::empty(desired, zones, seed);
        world.run();
        world.moved = 0;
        world
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % 100 < percent
    }

    pub fn cluster(&mut self) -> &mut Cluster {
        match &mut self.observed.cluster {
            Seen::Fresh(cluster) => cluster,
            _ => panic!("the cluster does not answer"),
        }
    }

    pub fn plan(&self) -> Plan {
        let plan = plan(&self.desired, &self.observed);
        let problems = lint(&self.desired, &self.observed, &plan);
        assert!(problems.is_empty(), "{problems:?}\n{plan}\n{:?}", self.observed);
        plan
    }

    /// Runs until settled; panics when that takes too long.
    pub fn run(&mut self) {
        let mut last = String::new();
        for _ in 0..3000 {
            let plan = self.plan();
            if plan.is_settled() {
                return;
            }
            last = plan.render();
            self.apply(&plan);
            self.pass();
        }
        panic!("not settled after 3000 rounds:\n{last}");
    }

    pub fn apply(&mut self, plan: &Plan) {
        for planned in &plan.steps {
            self.step(&planned.step);
        }
    }

    fn place(&mut self, index: u32) -> &mut Place {
        self.observed.places.iter_mut().find(|place| place.index == index).expect("place")
    }

    fn node(&mut self, index: u32) -> Node {
        let id = self.next_node;
        self.next_node += 1;
        let place = self.place(index);
        place.disk = Seen::Fresh(Disk::Member { cluster_id: ID.to_owned(), node_id: id });
        let (name, domains) = (place.name.clone(), place.domains.clone());
        Node { id, name, draining: false, domains, silent_for_ms: 0, read_only: false, leaders_away: false }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::MintClusterId => self.observed.cluster_id = Some(ID.to_owned()),
            Step::StartNode { index } => self.start(*index),
            Step::Found { founders } => {
                let nodes: Vec<Node> = founders.iter().map(|index| self.node(*index)).collect();
                let on: Vec<u64> = nodes.iter().map(|node| node.id).collect();
                self.observed.cluster = Seen::Fresh(Cluster {
                    cluster_id: ID.to_owned(),
                    map_version: 1,
                    replication_factor: self.desired.replication_factor,
                    shard_count: self.desired.shards,
                    nodes,
                    shards: vec![shard(0, &on)],
                    stop_reserved: None,
                });
            }
            Step::NoteFounded => self.observed.founded = true,
            Step::Join { index } => {
                let node = self.node(*index);
                self.cluster().nodes.push(node);
            }
            Step::CreateShards { placements } => {
                let new: Vec<Shard> = placements.iter().map(|(id, nodes)| shard(*id, nodes)).collect();
                self.cluster().shards.extend(new);
            }
            Step::Reconfigure { moves } => {
                for change in moves {
                    let shard = &mut self.cluster().shards[change.shard as usize];
                    let new = change.nodes.iter().filter(|node| !shard.target.contains(node)).count();
                    shard.target = change.nodes.clone();
                    if change.shard != 0 {
                        self.moved += new;
                    }
                }
            }
            Step::TransferLeaders { transfers } => {
                for (shard, node) in transfers {
                    self.cluster().shards[*shard as usize].leader = Some(*node);
                }
            }
            Step::Drain { node } => self.mark(*node, true),
            Step::CancelDrain { node } => self.mark(*node, false),
            Step::RemoveNode { node } => self.cluster().nodes.retain(|other| other.id != *node),
            Step::RetirePlace { index } => self.observed.places.retain(|place| place.index != *index),
        }
    }

    fn mark(&mut self, node: u64, draining: bool) {
        for other in self.cluster().nodes.iter_mut().filter(|other| other.id == node) {
            other.draining = draining;
        }
    }

    fn start(&mut self, index: u32) {
        if let Some(place) = self.observed.places.iter_mut().find(|place| place.index == index) {
            place.process = Seen::Fresh(Process::Running);
            if matches!(place.disk.fresh(), Some(Disk::Blank { .. } | Disk::Gone)) {
                place.disk = Seen::Fresh(Disk::Blank { uuid: Some(format!("again-{index}")) });
            }
            return;
        }
        let zone = if self.zones == 0 { String::new() } else { format!("z{}", index % self.zones) };
        self.observed.places.push(Place {
            index,
            name: format!("node-{index}"),
            process: Seen::Fresh(Process::Running),
            disk: Seen::Fresh(Disk::Blank { uuid: Some(format!("uuid-{index}")) }),
            peer_address: None,
            kv_address: None,
            domains: Domains { zone, machine: String::new() },
        });
        self.observed.places.sort_by_key(|place| place.index);
    }

    /// Some groups get a step further.
    pub fn pass(&mut self) {
        if self.observed.cluster.fresh().is_none() {
            return;
        }
        let count = self.cluster().shards.len();
        for at in 0..count {
            if self.chance(70) {
                let dead: Vec<u64> =
                    self.cluster().nodes.iter().filter(|n| n.silent_for_ms > 2000).map(|node| node.id).collect();
                walk(&mut self.cluster().shards[at], &dead);
            }
        }
    }

    /// The node's place is wiped: its process runs on an empty disk.
    pub fn wipe(&mut self, node: u64) {
        self.silence(node, 5_000);
        let name = self.cluster().nodes.iter().find(|n| n.id == node).expect("node").name.clone();
        for place in self.observed.places.iter_mut().filter(|place| place.name == name) {
            place.disk = Seen::Fresh(Disk::Blank { uuid: Some("wiped".to_owned()) });
        }
    }

    /// The node is not heard; its shards elect others.
    pub fn silence(&mut self, node: u64, ms: u64) {
        for other in self.cluster().nodes.iter_mut().filter(|other| other.id == node) {
            other.silent_for_ms = ms;
        }
        for shard in &mut self.cluster().shards {
            for replica in shard.replicas.iter_mut().filter(|replica| replica.node == node) {
                replica.caught_up = false;
            }
            if shard.leader == Some(node) {
                shard.leader = shard.replicas.iter().find(|replica| replica.caught_up).map(|replica| replica.node);
                shard.fresh = shard.leader.is_some();
            }
        }
    }

    pub fn counts(&mut self) -> Vec<(u64, usize, usize)> {
        let cluster = self.cluster();
        let data = || cluster.shards.iter().filter(|shard| shard.id != 0);
        let count = |id: u64| {
            let replicas = data().filter(|shard| shard.replicas.iter().any(|replica| replica.node == id)).count();
            (id, replicas, data().filter(|shard| shard.leader == Some(id)).count())
        };
        cluster.nodes.iter().map(|node| count(node.id)).collect()
    }
}

pub fn shard(id: u32, nodes: &[u64]) -> Shard {
    let replicas = nodes.iter().map(|node| Replica { node: *node, role: Role::Voter, caught_up: true }).collect();
    Shard { id, version: 1, leader: nodes.first().copied(), fresh: true, replicas, target: nodes.to_vec(), bytes: 100 }
}

/// Learner, caught up, joint, done: one of these a call.
fn walk(shard: &mut Shard, dead: &[u64]) {
    let target = shard.target.clone();
    let there = |shard: &Shard, node: u64| shard.replicas.iter().any(|replica| replica.node == node);
    let joint = shard.replicas.iter().any(|replica| replica.role == Role::Outgoing);
    if joint {
        shard.replicas.retain(|replica| replica.role != Role::Outgoing);
    } else if let Some(node) = target.iter().copied().find(|node| !there(shard, *node)) {
        shard.replicas.push(Replica { node, role: Role::Learner, caught_up: false });
        return;
    } else if shard.replicas.iter().any(|r| r.role == Role::Learner && !r.caught_up && !dead.contains(&r.node)) {
        for replica in shard.replicas.iter_mut().filter(|r| r.role == Role::Learner && !dead.contains(&r.node)) {
            replica.caught_up = true;
        }
        return;
    } else if shard.replicas.iter().any(|r| !target.contains(&r.node) || r.role == Role::Learner) {
        if shard.replicas.iter().any(|r| target.contains(&r.node) && r.role == Role::Learner && !r.caught_up) {
            return;
        }
        for replica in &mut shard.replicas {
            replica.role = if target.contains(&replica.node) { Role::Voter } else { Role::Outgoing };
        }
    } else {
        return;
    }
    shard.version += 1;
    if !shard.leader.is_some_and(|leader| there(shard, leader)) {
        shard.leader = shard.replicas.iter().find(|r| r.caught_up && r.role == Role::Voter).map(|r| r.node);
    }
}
