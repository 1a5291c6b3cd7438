//! How the world stops, starts and starts anew: reservations, leases, processes that take a while to come up, and
//! revisions that never do. Panics when a step takes away what no step may.

use std::collections::{BTreeMap, BTreeSet};

use granary_planner::observed::*;
use granary_planner::safety;

use super::{SILENT_MS, World, group};

/// Rounds that a reservation and a lease hold, as long as on real nodes.
const HELD_ROUNDS: u32 = 6;

/// What the world keeps beside what is seen.
#[derive(Default)]
pub struct Stops {
    /// What is started anew now never comes up.
    pub broken: bool,
    /// New places take a while to come up, with disks that cannot be read until then.
    pub slow: bool,
    /// Places that were given up keep their disks, and so their indexes.
    pub keeps: bool,
    /// Places that never come up on the revision they have.
    pub stuck: BTreeSet<u32>,
    /// Members that a plan sent away and that are not back.
    pub sent_away: BTreeSet<u64>,
    /// Members that were sent away so far.
    pub restarts: usize,
    held: u32,
    leases: BTreeMap<u64, u32>,
}

impl World {
    /// The spec changes so that every process has to be started anew.
    pub fn revise(&mut self, broken: bool) {
        self.stops.broken = broken;
        for place in &mut self.observed.places {
            place.restart = Some("image: granary:2".to_owned());
        }
        self.new_era();
    }

    pub fn reserve(&mut self, node: u64) {
        assert!(safety::can_stop(self.cluster(), node).is_ok(), "node {node} must not stop");
        self.cluster().stop_reserved = Some(node);
        self.stops.held = HELD_ROUNDS;
    }

    pub fn leaders_away(&mut self, node: u64) {
        self.stops.leases.insert(node, HELD_ROUNDS);
        self.lease(node, true);
    }

    pub fn release(&mut self, node: u64) {
        assert_eq!(self.cluster().stop_reserved, Some(node));
        self.cluster().stop_reserved = None;
        self.stops.leases.remove(&node);
        self.lease(node, false);
    }

    fn lease(&mut self, node: u64, away: bool) {
        for other in self.cluster().nodes.iter_mut().filter(|other| other.id == node) {
            other.leaders_away = away;
        }
    }

    pub fn restart(&mut self, index: u32) {
        let place = self.place(index).clone();
        assert!(place.restart.is_some(), "nobody asked for it: {place:?}");
        let member = match place.disk.known() {
            Some(Disk::Member { node_id, .. }) => Some(*node_id),
            _ => None,
        };
        let runs = place.process == Seen::Fresh(Process::Running);
        let founded = self.observed.cluster.fresh().is_some();
        if let Some(node) = member.filter(|node| runs && founded && !self.dead.contains(node)) {
            self.stop_member(node);
        }
        if self.stops.broken {
            self.stops.stuck.insert(index);
        } else {
            self.stops.stuck.remove(&index);
        }
        let place = self.place(index);
        place.restart = None;
        place.process = Seen::Fresh(Process::Starting);
        if let Seen::Fresh(disk) = place.disk.clone() {
            place.disk = Seen::Stale(disk);
        }
    }

    /// A member that is heard goes: no other that was sent away is still down, and every shard keeps its quorum.
    fn stop_member(&mut self, node: u64) {
        if !self.cluster().nodes.iter().any(|other| other.id == node) {
            return;
        }
        assert!(self.stops.sent_away.is_empty(), "node {node} is sent away beside {:?}", self.stops.sent_away);
        let alone = self.cluster().replication_factor == 1;
        assert!(alone || self.cluster().stop_reserved == Some(node), "node {node} was not reserved");
        let led = self.cluster().shards.iter().filter(|shard| shard.leader == Some(node)).count();
        assert!(alone || led == 0, "node {node} leads {led} shards");
        self.stops.sent_away.insert(node);
        self.stops.restarts += 1;
        self.dead.insert(node);
        let dead = self.dead.clone();
        for shard in &mut self.cluster().shards {
            let led = shard.leader.is_some();
            group::elect(shard, &dead);
            assert!(alone || !led || shard.leader.is_some(), "the stop of node {node} cost a quorum: {shard:?}");
        }
    }

    /// Time passes for what stops and starts.
    pub fn stops_pass(&mut self) {
        for index in self.observed.places.iter().map(|place| place.index).collect::<Vec<_>>() {
            let starting = self.place(index).process == Seen::Fresh(Process::Starting);
            let gone = self.place(index).disk == Seen::Fresh(Disk::Gone);
            if starting && !gone && !self.stops.stuck.contains(&index) && self.chance(50) {
                self.comes_up(index);
            }
        }
        if self.observed.cluster.fresh().is_none() {
            return;
        }
        self.stops.held = self.stops.held.saturating_sub(1);
        if self.stops.held == 0 {
            self.cluster().stop_reserved = None;
        }
        for (node, left) in self.stops.leases.clone() {
            if left == 1 {
                self.stops.leases.remove(&node);
                self.lease(node, false);
            } else {
                self.stops.leases.insert(node, left - 1);
            }
        }
        for at in 0..self.cluster().shards.len() {
            if !self.stops.leases.is_empty() && self.chance(60) {
                self.hand_over(at);
            }
        }
    }

    /// A shard whose leader's node keeps leaders away goes to another voter that has caught up.
    fn hand_over(&mut self, at: usize) {
        let (leases, dead) = (self.stops.leases.clone(), self.dead.clone());
        let shard = &mut self.cluster().shards[at];
        if shard.leader.is_some_and(|leader| leases.contains_key(&leader)) {
            let able = |r: &&Replica| {
                r.role == Role::Voter && r.caught_up && !leases.contains_key(&r.node) && !dead.contains(&r.node)
            };
            let next = shard.replicas.iter().find(able).map(|replica| replica.node);
            shard.leader = next.or(shard.leader);
        }
    }

    fn comes_up(&mut self, index: u32) {
        let blank = self.blank(index);
        let place = self.place(index);
        place.process = Seen::Fresh(Process::Running);
        match place.disk.known().cloned() {
            Some(Disk::Member { cluster_id, node_id }) => {
                place.disk = Seen::Fresh(Disk::Member { cluster_id, node_id });
                self.stops.sent_away.remove(&node_id);
                self.dead.remove(&node_id);
                let limit = self.desired.replace_after_ms.unwrap_or(u64::MAX);
                let nodes = self.observed.cluster.fresh().map(|cluster| &cluster.nodes);
                let silent = nodes.and_then(|nodes| nodes.iter().find(|n| n.id == node_id)).map(|n| n.silent_for_ms);
                if silent >= Some(limit) {
                    self.new_era();
                } else if silent >= Some(SILENT_MS) {
                    self.members_changed();
                }
                if self.observed.cluster.fresh().is_some() {
                    self.cluster().nodes.iter_mut().filter(|n| n.id == node_id).for_each(|n| n.silent_for_ms = 0);
                }
            }
            _ => place.disk = blank,
        }
    }
}
