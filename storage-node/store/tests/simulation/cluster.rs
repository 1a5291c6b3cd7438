//! The cluster: nodes, the network between them, the map, and clients.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use granary_common::{NodeId, ReplicaId, ShardId};
use granary_proto::{
    map::{self, ReplicaRole},
    raft as wire,
};
use granary_store::{Config, Event, Lane, Role};

use crate::{
    checks::Checks,
    disk::State,
    node::{MS, Node, Outbox, Speeds},
    rng::Rng,
};

pub const STEP: u64 = MS;
const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";
const VOTE: [u32; 2] = [5, 17];
const VOTE_ANSWER: [u32; 2] = [6, 18];
const SNAPSHOT: u32 = 7;

/// Times in a million.
#[derive(Clone, Copy, Default)]
pub struct Weather {
    pub drop: u64,
    pub delay_ns: u64,
    pub snapshot_fails: u64,
}

pub struct Cluster {
    pub seed: u64,
    pub rng: Rng,
    pub now: u64,
    pub nodes: Vec<Node>,
    pub checks: Checks,
    pub weather: Weather,
    /// Pairs (from, to) between which nothing passes.
    pub cut: BTreeSet<(u64, u64)>,
    /// What the meta shard says.
    pub map: Vec<map::Shard>,
    pub counts: BTreeMap<&'static str, u64>,
    /// A node that does not know of rest.
    pub deaf_to_rest: Option<u64>,
    /// Messages that arrived, by type and receiver.
    pub seen: BTreeMap<(u32, u64), u64>,
    next_replica: u64,
    next_ticket: u64,
    wires: BTreeMap<(u64, u64, bool), VecDeque<(u64, wire::RaftMessage)>>,
    files: Vec<(u64, u64, granary_store::SendSnapshot, Option<State>)>,
    /// Vote requests of a transfer: (shard, candidate, term).
    forced: BTreeSet<(u32, u64, u64)>,
    /// Values proposed so far.
    pub proposed: u64,
    pub answers: BTreeMap<u64, Option<granary_store::Answer>>,
}

impl Cluster {
    /// Nodes 1 to `nodes`, shards 1 to `shards` with `factor` voters each on the first nodes, turned by shard.
    pub fn new(seed: u64, nodes: u64, shards: u32, factor: u64, tune: impl Fn(&mut Config)) -> Self {
        let mut rng = Rng::new(seed);
        let speeds = Speeds { log: MS, apply: MS, install: 10 * MS, flush: 200 * MS };
        let make = |id: u64| {
            let mut config = Config::new(NodeId(id), seed ^ id);
            tune(&mut config);
            Node::new(id, config, rng.between(1, 1_000_000) * MS, speeds)
        };
        let nodes: Vec<Node> = (1..=nodes).map(make).collect();
        let mut cluster = Self {
            seed,
            rng,
            now: 0,
            nodes,
            checks: Checks::default(),
            weather: Weather { delay_ns: 2 * MS, ..Weather::default() },
            cut: BTreeSet::new(),
            map: Vec::new(),
            counts: BTreeMap::new(),
            deaf_to_rest: None,
            seen: BTreeMap::new(),
            next_replica: 100,
            next_ticket: 1,
            wires: BTreeMap::new(),
            files: Vec::new(),
            forced: BTreeSet::new(),
            proposed: 0,
            answers: BTreeMap::new(),
        };
        for shard in 1..=shards {
            let nodes = cluster.nodes.len() as u64;
            let replicas: Vec<map::Replica> =
                (0..factor).map(|place| cluster.new_replica((u64::from(shard) - 1 + place) % nodes + 1)).collect();
            cluster.map.push(map::Shard {
                id: shard,
                range: None,
                target: Some(map::Target { number: 1, replicas: replicas.clone() }),
                group: Some(map::Group { version: 1, replicas, joint: false, highest_replica_id: 0 }),
            });
        }
        for place in 0..cluster.nodes.len() {
            cluster.start(place);
            cluster.push_map(place);
        }
        cluster
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn new_replica(&mut self, node_id: u64) -> map::Replica {
        self.next_replica += 1;
        map::Replica { id: self.next_replica, node_id, role: ReplicaRole::Voter.into() }
    }

    pub fn node(&mut self, id: u64) -> &mut Node {
        &mut self.nodes[id as usize - 1]
    }

    pub fn start(&mut self, place: usize) {
        let seed = self.rng.next();
        self.nodes[place].start(self.now, seed);
    }

    pub fn push_map(&mut self, place: usize) {
        let (now, map) = (self.now, self.map.clone());
        self.nodes[place].follow_map(now, map);
    }

    pub fn crash(&mut self, place: usize, power: bool) {
        let id = self.nodes[place].id;
        if self.nodes[place].crash(&mut self.rng, &mut self.checks, power) {
            self.count("state lost in a power cut");
        }
        // Streams end with either end.
        for ((from, to, _), wire) in &mut self.wires {
            if *to == id || *from == id {
                wire.clear();
            }
        }
        self.count("crash");
    }

    /// As the meta shard does it: replicas that stay keep their ids, others get new ones.
    pub fn reconfigure(&mut self, shard: u32, nodes: &[u64]) {
        let place = shard as usize - 1;
        let (group, target) = (self.map[place].group.clone().unwrap_or_default(), self.target_of(shard));
        let mut present: BTreeMap<u64, u64> = group
            .replicas
            .iter()
            .filter(|replica| replica.role() != ReplicaRole::Outgoing)
            .map(|replica| (replica.node_id, replica.id))
            .collect();
        present.extend(target.replicas.iter().map(|replica| (replica.node_id, replica.id)));
        let replicas = nodes
            .iter()
            .map(|node| match present.get(node) {
                Some(id) => map::Replica { id: *id, node_id: *node, role: ReplicaRole::Voter.into() },
                None => self.new_replica(*node),
            })
            .collect();
        self.map[place].target = Some(map::Target { number: target.number + 1, replicas });
        self.count("new target");
    }

    pub fn target_of(&self, shard: u32) -> map::Target {
        self.map[shard as usize - 1].target.clone().unwrap_or_default()
    }

    fn report(&mut self, shard: u32, group: map::Group) {
        let place = shard as usize - 1;
        let before = self.map[place].group.clone().unwrap_or_default();
        if group.version <= before.version {
            return;
        }
        let role = |id| group.replicas.iter().find(|replica| replica.id == id).map(map::Replica::role);
        let spent = |id| id <= group.highest_replica_id && matches!(role(id), None | Some(ReplicaRole::Outgoing));
        self.replace_ids(shard, spent);
        self.map[place].group = Some(group);
    }

    /// New ids for those of a target that can never be made.
    fn replace_ids(&mut self, shard: u32, spent: impl Fn(u64) -> bool) {
        let mut target = self.target_of(shard);
        let mut changed = false;
        for replica in target.replicas.iter_mut().filter(|replica| spent(replica.id)) {
            self.next_replica += 1;
            replica.id = self.next_replica;
            changed = true;
        }
        target.number += u64::from(changed);
        self.map[shard as usize - 1].target = Some(target);
    }

    /// A write to the node; its ticket.
    pub fn propose(&mut self, node: u64, shard: u32) -> u64 {
        self.next_ticket += 1;
        self.proposed += 1;
        let ticket = self.next_ticket;
        let length = self.rng.between(8, 200) as usize;
        let mut data = self.proposed.to_be_bytes().to_vec();
        data.resize(length, 7);
        let data = Bytes::from(data);
        self.checks.proposed(ticket, data.clone());
        let now = self.now;
        self.node(node).event(now, Event::Propose { shard: ShardId(shard), ticket, data });
        ticket
    }

    pub fn read(&mut self, node: u64, shard: u32) -> u64 {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        self.checks.asked(ticket, shard, node);
        let now = self.now;
        self.node(node).event(now, Event::Read { shard: ShardId(shard), ticket });
        ticket
    }

    /// The node that says that it leads, with the highest term.
    pub fn leader(&self, shard: u32) -> Option<u64> {
        let boards = self.nodes.iter().filter_map(|node| Some((node.board.get(&shard)?, node.id)));
        boards.filter(|(seen, _)| seen.role == Role::Leader).max_by_key(|(seen, _)| seen.term).map(|(_, node)| node)
    }

    /// Whether a group that the node leads has quiesced.
    pub fn leads_at_rest(&self, place: usize) -> bool {
        let node = &self.nodes[place];
        node.is_up() && node.board.values().any(|seen| seen.role == Role::Leader && seen.quiesced)
    }

    pub fn step(&mut self) {
        self.now += STEP;
        for place in 0..self.nodes.len() {
            let node = &mut self.nodes[place];
            if self.now >= node.paused_until {
                node.skip_ticks(self.now);
            }
        }
        self.deliver();
        self.deliver_files();
        let mut out = Outbox::default();
        for place in 0..self.nodes.len() {
            let now = self.now;
            let node = &mut self.nodes[place];
            if !node.is_up() || now < node.paused_until {
                continue;
            }
            node.advance(now, &mut self.rng, &mut self.checks, &mut out);
            if node.crashed_by_itself {
                self.crash(place, true);
                self.count("install cut between data and log");
                continue;
            }
            let node = &mut self.nodes[place];
            node.act(now, &mut self.rng, &mut self.checks, &mut out);
            self.take(place, &mut out);
        }
        self.checks.check_durability(&self.nodes);
        if (0..self.nodes.len()).any(|place| self.leads_at_rest(place)) {
            self.count("quiesced");
        }
        for node in self.nodes.iter().filter(|node| node.is_up()) {
            self.checks.check_reads(self.now, node);
        }
    }

    fn take(&mut self, place: usize, out: &mut Outbox) {
        let from = self.nodes[place].id;
        for send in out.sends.drain(..) {
            self.check_vote(place, &send.message);
            self.count("sent message");
            if self.rng.hits(self.weather.drop) {
                self.counts.entry("dropped message").and_modify(|count| *count += 1).or_insert(1);
                if self.rng.hits(300_000) {
                    let now = self.now;
                    self.nodes[place].event(now, Event::Unreachable { node: send.to });
                }
                continue;
            }
            let wire = self.wires.entry((from, send.to.0, send.lane == Lane::Heartbeats)).or_default();
            let at = self.now + self.rng.between(0, self.weather.delay_ns.max(1) * 2);
            let at = wire.back().map_or(at, |(last, _)| at.max(*last));
            wire.push_back((at, send.message));
        }
        for (wanted, files) in out.snapshots.drain(..) {
            let takes = self.rng.between(1, 30 * MS);
            self.files.push((self.now + takes, from, wanted, files));
        }
        for (ticket, answer) in out.answers.drain(..) {
            self.checks.answered(&self.nodes, ticket, answer.as_ref());
            self.answers.insert(ticket, answer);
        }
        for (shard, group) in out.reports.drain(..) {
            self.report(shard, group);
        }
    }

    /// A follower that restarted grants no vote for an election timeout, except in a transfer.
    fn check_vote(&self, place: usize, message: &wire::RaftMessage) {
        let Some(wire::raft_message::Body::Raft(body)) = &message.body else { return };
        if !VOTE_ANSWER.contains(&body.r#type) || body.reject {
            return;
        }
        let node = &self.nodes[place];
        let forced = self.forced.contains(&(message.shard_id, message.to_replica, body.term));
        let born_here = !node.restarted.contains(&message.from_replica);
        assert!(
            forced || born_here || self.now >= node.started_at + node.config.election_timeout_ns(),
            "node {} restarted at {} and votes at {}",
            node.id,
            node.started_at,
            self.now
        );
    }

    fn deliver(&mut self) {
        let mut arrived = Vec::new();
        for ((from, to, _), wire) in &mut self.wires {
            let node = &self.nodes[*to as usize - 1];
            if self.now < node.paused_until {
                continue;
            }
            while wire.front().is_some_and(|(at, _)| *at <= self.now) {
                let Some((_, message)) = wire.pop_front() else { break };
                if !self.cut.contains(&(*from, *to)) && node.is_up() {
                    arrived.push((*to, message));
                }
            }
        }
        for (to, mut message) in arrived {
            message.quiesced &= Some(to) != self.deaf_to_rest;
            if let Some(wire::raft_message::Body::Raft(body)) = &message.body {
                *self.seen.entry((body.r#type, to)).or_default() += 1;
                if VOTE.contains(&body.r#type) && body.context == CAMPAIGN_TRANSFER {
                    self.forced.insert((message.shard_id, message.from_replica, body.term));
                }
            }
            let now = self.now;
            self.node(to).event(now, Event::Message(message));
        }
    }

    fn deliver_files(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.files.extract_if(.., |(at, ..)| *at <= now).collect();
        for (_, from, wanted, files) in due {
            let to = wanted.to.0;
            let fails = self.rng.hits(self.weather.snapshot_fails) || self.cut.contains(&(from, to));
            let receiver = self.node(to);
            let up = receiver.is_up() && now >= receiver.paused_until;
            let accepted = match files.filter(|_| up && !fails) {
                Some(state) => {
                    receiver.inbox.insert(wanted.snapshot_id, state);
                    receiver.event(now, Event::Message(wanted.message.clone()));
                    *self.seen.entry((SNAPSHOT, to)).or_default() += 1;
                    self.count("snapshot taken over");
                    true
                }
                None => {
                    self.count("snapshot failed");
                    false
                }
            };
            let (shard, to) = (ShardId(wanted.message.shard_id), ReplicaId(wanted.message.to_replica));
            self.node(from).event(now, Event::SnapshotSent { shard, to, accepted });
        }
    }

    /// Asks every node for its report, as the meta shard's leader is told, and tells every node the newest map.
    pub fn gossip(&mut self) {
        for place in 0..self.nodes.len() {
            if self.nodes[place].is_up() && self.now >= self.nodes[place].paused_until {
                let now = self.now;
                self.nodes[place].event(now, Event::Report);
                for (shard, spent) in self.nodes[place].spent() {
                    self.count("spent id told");
                    self.replace_ids(shard, |id| id == spent);
                }
                if self.nodes[place].map != self.map {
                    self.push_map(place);
                }
            }
        }
    }

    pub fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            if (self.now / STEP).is_multiple_of(50) {
                self.gossip();
            }
            self.step();
        }
    }

    /// Runs until `done`; fails with `what` behind `limit_ms`.
    pub fn run_until(&mut self, what: &str, limit_ms: u64, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..limit_ms {
            if done(self) {
                return;
            }
            self.run(1);
        }
        panic!("not within {limit_ms} ms: {what}\n{}", self.describe());
    }

    pub fn wait_for_leaders(&mut self) {
        self.run_until("every shard has a leader that serves reads", 10_000, |cluster| {
            cluster.map.clone().iter().all(|shard| {
                let leader = cluster.leader(shard.id);
                leader.is_some_and(|leader| {
                    let node = &cluster.nodes[leader as usize - 1];
                    let seen = &node.board[&shard.id];
                    // Without a lease while the group rests, and the first read brings it back.
                    seen.quiesced || seen.lease_until_ns > node.clock(cluster.now)
                })
            })
        });
    }

    /// Targets are reached, replicas are equal, and whoever is out is gone.
    pub fn has_converged(&self) -> bool {
        self.map.iter().all(|shard| {
            let wanted: BTreeSet<(u64, u64)> =
                shard.target.iter().flat_map(|target| &target.replicas).map(|r| (r.node_id, r.id)).collect();
            let replicas = self.nodes.iter().filter(|node| !node.lost).filter_map(|node| {
                let record = node.disk.records.get(&shard.id).filter(|record| record.replica != 0)?;
                Some((node.id, record.replica))
            });
            let replicas: BTreeSet<(u64, u64)> = replicas.collect();
            let states: Vec<Option<&State>> =
                wanted.iter().map(|(node, _)| self.nodes[*node as usize - 1].disk.data.get(&shard.id)).collect();
            let Some(Some(first)) = states.first() else { return false };
            let voters: BTreeSet<(u64, u64)> = first
                .group
                .replicas
                .iter()
                .filter(|replica| replica.role() == ReplicaRole::Voter)
                .map(|replica| (replica.node_id, replica.id))
                .collect();
            replicas == wanted
                && voters == wanted
                && first.group.replicas.len() == wanted.len()
                && self.leader(shard.id).is_some()
                && states.iter().all(|state| {
                    state.is_some_and(|state| state.applied == first.applied && state.group == first.group)
                })
        })
    }

    /// Writes, again when refused, until a write is applied.
    pub fn write_until_applied(&mut self, shard: u32) {
        let mut ticket = None;
        // Dozens of writes may wait for a slow applier.
        self.run_until("a write is taken and applied", 20_000, |cluster| {
            match ticket.and_then(|ticket| cluster.answers.get(&ticket)) {
                Some(None) => return true,
                None if ticket.is_some() => {}
                _ => {
                    let leader = cluster.leader(shard).unwrap_or(1);
                    ticket = cluster.nodes[leader as usize - 1].is_up().then(|| cluster.propose(leader, shard));
                }
            }
            false
        });
    }

    /// Ends every fault, waits until all is as it shall be, and compares everything.
    pub fn heal_and_compare(&mut self) {
        self.weather = Weather { delay_ns: 2 * MS, ..Weather::default() };
        self.cut.clear();
        let now = self.now;
        for place in 0..self.nodes.len() {
            let node = &mut self.nodes[place];
            (node.paused_until, node.stalled_until, node.crash_at_install) = (0, 0, false);
            node.event(now, Event::LeadersAway { away: false });
            if !node.lost && !node.is_up() {
                self.start(place);
            }
        }
        self.run_until("the cluster converges after all faults have ended", 60_000, |cluster| cluster.has_converged());
        for shard in self.map.clone() {
            self.write_until_applied(shard.id);
        }
        self.run_until("the last writes are everywhere", 10_000, |cluster| cluster.has_converged());
        self.wait_for_leaders();
        for shard in &self.map {
            let states: Vec<&State> = shard
                .target
                .iter()
                .flat_map(|target| &target.replicas)
                .filter_map(|replica| self.nodes[replica.node_id as usize - 1].disk.data.get(&shard.id))
                .collect();
            self.checks.check_final(shard.id, &states);
        }
    }

    pub fn describe(&self) -> String {
        let mut text = format!("seed {} at {} ms, cut {:?}\n", self.seed, self.now / MS, self.cut);
        for shard in &self.map {
            text += &format!("shard {}: target {:?}\n  group {:?}\n", shard.id, shard.target, shard.group);
            for node in &self.nodes {
                let log = node.disk.records.get(&shard.id).and_then(|r| node.disk.logs.get(&(shard.id, r.replica)));
                text += &format!(
                    "  node {} up {} lost {} record {:?} log {:?}..{:?} {:?} applied {} board {:?}\n",
                    node.id,
                    node.is_up(),
                    node.lost,
                    node.disk.records.get(&shard.id),
                    log.map(|log| log.truncated),
                    log.map(crate::disk::Log::last),
                    log.map(|log| log.hard_state),
                    node.applied(shard.id),
                    node.board.get(&shard.id).map(|seen| (seen.role, seen.term, seen.leader, seen.lease_until_ns / MS)),
                );
                text += &format!("    {}\n", node.queues(self.now));
            }
        }
        text
    }
}
