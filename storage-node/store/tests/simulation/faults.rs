//! Random runs: every kind of fault, at random times, from one seed.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use granary_common::{NodeId, ShardId};
use granary_store::{Config, Event, Retention, StandstillTicks};

use crate::{
    cluster::{Cluster, Weather},
    node::MS,
    rng::Rng,
};

const SEEDS: u64 = 200;
/// What must have happened in the sum of all seeds.
const KINDS: [&str; 21] = [
    "dropped message",
    "cut",
    "one-way cut",
    "crash",
    "power cut",
    "state lost in a power cut",
    "pause",
    "slow disk",
    "install cut between data and log",
    "snapshot taken over",
    "snapshot failed",
    "new target",
    "transfer",
    "leaders away",
    "slow nodes",
    "node lost",
    "lease read",
    "read by index",
    "read of a follower",
    "quiesced",
    "pause at rest",
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Bounds from one to roomy.
fn tune(seed: u64) -> impl Fn(&mut Config) {
    move |config| {
        let mut rng = Rng::new(seed.wrapping_mul(31));
        config.memory_entries = *rng.pick(&[1, 8, 64]);
        config.memory_bytes = *rng.pick(&[1, 1_000, 1 << 20]);
        config.max_append_bytes = *rng.pick(&[1, 300, 1 << 20]);
        config.max_inflight_appends = *rng.pick(&[1, 4, 256]);
        config.max_apply_bytes = *rng.pick(&[1, 300, 1 << 20]);
        config.max_uncommitted_bytes = *rng.pick(&[1, 2_000, 1 << 20]);
        let entries = *rng.pick(&[1, 10, 100]);
        config.retention = Retention {
            entries,
            bytes: *rng.pick(&[1, 2_000, 1 << 20]),
            entries_for_followers: entries * *rng.pick(&[1, 3]),
            bytes_for_followers: *rng.pick(&[1_000, 1 << 20]),
        };
        let give_up = *rng.pick(&[40, 100, 2_400]);
        config.standstill = StandstillTicks { report: give_up / 4, give_up };
        config.quiesce_after = *rng.pick(&[0, 1, 8, 40]);
        config.quiesced_pace = *rng.pick(&[1, 5, 20]);
    }
}

struct Faults {
    cluster: Cluster,
    factor: u64,
    shards: u32,
    /// Clients hardly ask for anything.
    lull: bool,
}

impl Faults {
    fn chance(&mut self, per_second: f64) -> bool {
        self.cluster.rng.hits((per_second * 1_000.0) as u64)
    }

    fn place(&mut self) -> usize {
        let nodes = self.cluster.nodes.len() as u64;
        self.cluster.rng.between(0, nodes) as usize
    }

    fn pick_nodes(&mut self) -> Vec<u64> {
        let mut nodes: Vec<u64> = self.cluster.nodes.iter().filter(|node| !node.lost).map(|node| node.id).collect();
        while nodes.len() as u64 > self.factor {
            let out = self.cluster.rng.between(0, nodes.len() as u64) as usize;
            nodes.remove(out);
        }
        nodes
    }

    fn step(&mut self) {
        self.clients();
        self.network();
        self.processes();
        self.operators();
        self.cluster.run(1);
    }

    fn clients(&mut self) {
        if self.chance(if self.lull { 3.0 } else { 0.5 }) {
            self.lull = !self.lull;
        }
        // Now and then somebody asks, so that groups at rest are asked while something is wrong.
        if self.lull && !self.chance(5.0) {
            return;
        }
        for shard in 1..=self.shards {
            if self.chance(150.0) {
                let any = self.place() as u64 + 1;
                let node = if self.chance(900.0) { self.cluster.leader(shard).unwrap_or(any) } else { any };
                self.try_on(node, |cluster| cluster.propose(node, shard));
            }
            if self.chance(30.0) {
                let node = self.cluster.leader(shard).unwrap_or(1);
                self.try_on(node, |cluster| cluster.read(node, shard));
            }
        }
    }

    fn try_on(&mut self, node: u64, ask: impl FnOnce(&mut Cluster) -> u64) {
        let now = self.cluster.now;
        let of = self.cluster.node(node);
        if of.is_up() && now >= of.paused_until {
            ask(&mut self.cluster);
        }
    }

    fn network(&mut self) {
        if self.chance(1.0) {
            self.cluster.weather = Weather {
                drop: *self.cluster.rng.pick(&[0, 0, 10_000, 100_000]),
                delay_ns: *self.cluster.rng.pick(&[MS, 3 * MS, 20 * MS]),
                snapshot_fails: *self.cluster.rng.pick(&[0, 200_000]),
            };
        }
        if self.chance(1.0) {
            self.cluster.cut.clear();
        }
        if self.chance(0.7) {
            let alone = self.place() as u64 + 1;
            let one_way = self.cluster.rng.hits(300_000);
            let others: Vec<u64> = (1..=self.cluster.nodes.len() as u64).filter(|other| *other != alone).collect();
            for other in others {
                self.cluster.cut.insert((alone, other));
                if !one_way {
                    self.cluster.cut.insert((other, alone));
                }
            }
            self.cluster.count(if one_way { "one-way cut" } else { "cut" });
        }
    }

    fn processes(&mut self) {
        let place = self.place();
        let now = self.cluster.now;
        let node = &mut self.cluster.nodes[place];
        if node.lost {
            return;
        }
        if !node.is_up() {
            if self.chance(8.0) {
                self.cluster.start(place);
            }
            return;
        }
        if self.chance(1.0) {
            let power = self.cluster.rng.hits(500_000);
            self.cluster.crash(place, power);
            if power {
                self.cluster.count("power cut");
            }
        } else if self.chance(0.05) {
            // All at once.
            for place in 0..self.cluster.nodes.len() {
                if self.cluster.nodes[place].is_up() {
                    self.cluster.crash(place, true);
                }
            }
            self.cluster.count("power cut");
        } else if self.chance(if self.cluster.leads_at_rest(place) { 3.0 } else { 0.5 }) {
            let kind = if self.cluster.leads_at_rest(place) { "pause at rest" } else { "pause" };
            self.cluster.nodes[place].paused_until = now + self.cluster.rng.between(10, 1_500) * MS;
            self.cluster.count(kind);
        } else if self.chance(0.7) {
            self.cluster.nodes[place].stalled_until = now + self.cluster.rng.between(10, 700) * MS;
            self.cluster.count("slow disk");
        } else if self.chance(0.5) {
            self.cluster.nodes[place].crash_at_install = true;
        }
    }

    fn operators(&mut self) {
        let now = self.cluster.now;
        let shard = self.cluster.rng.between(1, u64::from(self.shards) + 1) as u32;
        if self.chance(1.0) {
            let nodes = self.pick_nodes();
            self.cluster.reconfigure(shard, &nodes);
        }
        if self.chance(1.0)
            && let Some(leader) = self.cluster.leader(shard)
        {
            let to = NodeId(self.place() as u64 + 1);
            self.cluster.node(leader).event(now, Event::TransferLeader { shard: ShardId(shard), to });
            self.cluster.count("transfer");
        }
        if self.chance(0.5) {
            let place = self.place();
            let node = &mut self.cluster.nodes[place];
            node.away = !node.away;
            let away = node.away;
            node.event(now, Event::LeadersAway { away });
            self.cluster.count("leaders away");
        }
        if self.chance(0.5) {
            let (place, all) = (self.place(), self.cluster.nodes.len() as u64);
            let slow = (1..=all).filter(|_| self.cluster.rng.hits(300_000)).map(NodeId).collect();
            self.cluster.nodes[place].event(now, Event::SlowNodes { nodes: slow });
            self.cluster.count("slow nodes");
        }
        if self.chance(0.1) && self.factor > 1 && !self.cluster.nodes.iter().any(|node| node.lost) {
            self.lose_a_node();
        }
    }

    /// One node is gone for good; the shards move off it. Every group of three or more can spare one.
    fn lose_a_node(&mut self) {
        let place = self.place();
        if self.cluster.nodes[place].is_up() {
            self.cluster.crash(place, true);
        }
        let node = &mut self.cluster.nodes[place];
        node.lost = true;
        let lost = node.id;
        self.cluster.count("node lost");
        for shard in 1..=self.shards {
            if self.cluster.target_of(shard).replicas.iter().any(|replica| replica.node_id == lost) {
                let nodes = self.pick_nodes();
                self.cluster.reconfigure(shard, &nodes);
            }
        }
    }
}

pub fn run(seed: u64) -> BTreeMap<&'static str, u64> {
    let mut rng = Rng::new(seed);
    let (nodes, factor) = *rng.pick(&[(3, 3), (4, 3), (5, 3), (5, 3), (5, 5), (3, 1)]);
    let shards = rng.between(1, 3) as u32;
    let cluster = Cluster::new(seed, nodes, shards, factor, tune(seed));
    let mut faults = Faults { cluster, factor, shards, lull: false };
    let speed = *rng.pick(&[MS / 2, 2 * MS, 10 * MS]);
    for node in &mut faults.cluster.nodes {
        (node.speeds.log, node.speeds.apply) = (speed, *rng.pick(&[MS / 2, 5 * MS]));
        node.speeds.flush = *rng.pick(&[50 * MS, 300 * MS]);
        node.speeds.install = *rng.pick(&[2 * MS, 100 * MS]);
    }
    let length = rng.between(2_000, 8_000);
    for _ in 0..length {
        faults.step();
    }
    let mut cluster = faults.cluster;
    cluster.heal_and_compare();
    let checks = &cluster.checks;
    let reads = [
        ("lease read", checks.lease_reads),
        ("read by index", checks.index_reads),
        ("read of a follower", checks.fresh_reads),
    ];
    cluster.counts.extend(reads);
    cluster.counts
}

/// `GRANARY_SEED` runs one; `GRANARY_SEEDS` that many; `GRANARY_FIRST` ends them at the first that fails.
pub fn run_all() {
    let seeds: Vec<u64> = match number("GRANARY_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("GRANARY_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut failed = Vec::new();
    for seed in &seeds {
        match catch_unwind(AssertUnwindSafe(|| run(*seed))) {
            Ok(of_seed) => of_seed.into_iter().for_each(|(kind, times)| *counts.entry(kind).or_default() += times),
            Err(_) => {
                eprintln!("failed: GRANARY_SEED={seed}");
                failed.push(*seed);
                if std::env::var_os("GRANARY_FIRST").is_some() {
                    break;
                }
            }
        }
    }
    assert!(failed.is_empty(), "failed: run with GRANARY_SEED set to one of {failed:?}");
    println!("{counts:#?}");
    if seeds.len() as u64 >= SEEDS {
        let missing: Vec<_> = KINDS.iter().filter(|kind| counts.get(*kind).is_none_or(|times| *times == 0)).collect();
        assert!(missing.is_empty(), "never happened: {missing:?}");
    }
}
