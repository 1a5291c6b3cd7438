//! Lints any plan against what was seen: what no plan may ever do, whoever made it. Written apart from the planner: it
//! uses the types and nothing else of this crate, so that an error of one does not hide in the other.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::desired::Desired;
use crate::observed::{Cluster, Disk, Node, Observed, Place, Process, Role, Shard};
use crate::plan::{Move, Plan, Step};

/// Most shards that may be on their way at once.
const IN_FLIGHT: usize = 8;

/// Something a plan must not do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{step}: {rule}")]
pub struct Problem {
    /// The step, as text.
    pub step: String,
    /// The rule it breaks.
    pub rule: String,
}

/// All problems of a plan; empty when there are none.
pub fn lint(desired: &Desired, observed: &Observed, plan: &Plan) -> Vec<Problem> {
    let mut lint = Lint { desired, observed, reserved: None, problems: Vec::new() };
    let takes_away =
        |step: &Step| matches!(step, Step::RemoveNode { .. } | Step::RetirePlace { .. } | Step::RestartPlace { .. });
    let taken_away = plan.steps.iter().filter(|planned| takes_away(&planned.step)).count();
    if taken_away > 1 {
        lint.problem("plan", format!("{taken_away} disruptive steps, at most 1"));
    }
    if desired.paused && !plan.steps.is_empty() {
        lint.problem("plan", "steps while paused");
    }
    let mut started = BTreeSet::new();
    for planned in &plan.steps {
        let name = planned.step.to_string();
        if planned.reason.is_empty() {
            lint.problem(&name, "no reason");
        }
        if let Step::StartNode { index } = planned.step
            && !started.insert(index)
        {
            lint.problem(&name, "started twice");
        }
        lint.step(&name, &planned.step);
        if let Step::ReserveStop { node } = planned.step {
            lint.reserved = Some(node);
        }
    }
    lint.problems
}

struct Lint<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    /// Node whose stop the steps before this one reserve.
    reserved: Option<u64>,
    problems: Vec<Problem>,
}

impl<'a> Lint<'a> {
    fn problem(&mut self, step: &str, rule: impl Into<String>) {
        self.problems.push(Problem { step: step.to_owned(), rule: rule.into() });
    }

    fn place(&self, index: u32) -> Option<&'a Place> {
        self.observed.places.iter().find(|place| place.index == index)
    }

    fn step(&mut self, name: &str, step: &Step) {
        match step {
            Step::MintClusterId => self.mint(name),
            Step::StartNode { index } => self.start(name, *index),
            Step::Found { founders } => self.found(name, founders),
            Step::RestartPlace { index } => self.restart(name, *index),
            _ => match self.observed.cluster.fresh() {
                None => self.problem(name, "needs the cluster's word, which is not fresh"),
                Some(cluster) if self.observed.cluster_id.as_ref() != Some(&cluster.cluster_id) => {
                    self.problem(name, "another cluster answers");
                }
                Some(cluster) => self.informed(name, step, cluster),
            },
        }
    }

    fn informed(&mut self, name: &str, step: &Step, cluster: &Cluster) {
        match step {
            Step::Join { index } => self.join(name, *index),
            Step::CreateShards { placements } => self.create(name, placements, cluster),
            Step::Reconfigure { moves } => self.reconfigure(name, moves, cluster),
            Step::TransferLeaders { transfers } => self.transfer(name, transfers, cluster),
            Step::Drain { node } => self.drain(name, *node, cluster),
            Step::CancelDrain { node } => {
                if !cluster.nodes.iter().any(|n| n.id == *node && n.draining) {
                    self.problem(name, "the node does not drain");
                }
            }
            Step::RemoveNode { node } => self.remove(name, *node, cluster),
            Step::RetirePlace { index } => self.retire(name, *index, cluster),
            Step::ReserveStop { node } => self.reserve(name, *node, cluster),
            Step::LeadersAway { node } => {
                if !self.is_reserved(*node, cluster) {
                    self.problem(name, "its stop is not reserved");
                }
            }
            Step::ReleaseStop { node } => self.release(name, *node, cluster),
            Step::NoteFounded
            | Step::MintClusterId
            | Step::StartNode { .. }
            | Step::Found { .. }
            | Step::RestartPlace { .. } => {}
        }
    }

    fn mint(&mut self, name: &str) {
        if self.observed.cluster_id.is_some() {
            self.problem(name, "there is an id");
        }
        for place in &self.observed.places {
            if !matches!(place.disk.fresh(), Some(Disk::Blank { .. } | Disk::Gone)) {
                self.problem(name, format!("{} is not known to be empty", place.name));
            }
        }
    }

    fn start(&mut self, name: &str, index: u32) {
        if let Some(place) = self.place(index) {
            // Before there is a cluster a disk that is gone held nothing.
            let unmade = !self.observed.founded
                && place.disk.fresh() == Some(&Disk::Gone)
                && place.process.fresh() == Some(&Process::Starting);
            if place.process.fresh() != Some(&Process::Stopped) && !unmade {
                self.problem(name, "the process is not known to be stopped, or the index is in use");
            }
        } else if self.observed.taken.contains(&index) {
            self.problem(name, "the index is taken by a disk that was given up");
        }
        if self.observed.cluster_id.is_none() {
            self.problem(name, "no cluster id");
        }
    }

    fn found(&mut self, name: &str, founders: &[u32]) {
        if self.observed.founded {
            self.problem(name, "founded before");
        }
        if founders.iter().copied().ne(0..self.desired.replication_factor) {
            self.problem(name, "the founders are the first places by index, as many as copies");
        }
        for index in founders {
            let fit = match self.place(*index).and_then(|place| place.disk.fresh()) {
                Some(Disk::Blank { uuid }) => uuid.is_some(),
                Some(Disk::Member { cluster_id, .. }) => Some(cluster_id) == self.observed.cluster_id.as_ref(),
                Some(Disk::Gone) | None => false,
            };
            if !fit {
                self.problem(name, format!("place {index} is neither freshly blank nor a founder"));
            }
        }
    }

    fn join(&mut self, name: &str, index: u32) {
        let disk = self.place(index).and_then(|place| place.disk.fresh());
        if !matches!(disk, Some(Disk::Blank { uuid: Some(_) })) {
            self.problem(name, "the disk is not freshly blank");
        }
    }

    fn create(&mut self, name: &str, placements: &[(u32, Vec<u64>)], cluster: &Cluster) {
        if cluster.shards.iter().any(|shard| shard.id != 0) {
            self.problem(name, "shards exist");
        }
        if !placements.iter().map(|(shard, _)| *shard).eq(1..=cluster.shard_count) {
            self.problem(name, "not every shard once, in order");
        }
        for (shard, nodes) in placements {
            self.voters(name, *shard, nodes, cluster, &BTreeSet::new());
        }
    }

    /// RF distinct nodes, each a member; what is new there is neither draining nor lost.
    fn voters(&mut self, name: &str, shard: u32, nodes: &[u64], cluster: &Cluster, before: &BTreeSet<u64>) {
        let distinct: BTreeSet<u64> = nodes.iter().copied().collect();
        if distinct.len() != nodes.len() || nodes.len() != cluster.replication_factor as usize {
            self.problem(name, format!("shard {shard}: not {} distinct nodes", cluster.replication_factor));
        }
        for id in distinct.difference(before) {
            match cluster.nodes.iter().find(|node| node.id == *id) {
                None => self.problem(name, format!("shard {shard}: node {id} is no member")),
                Some(node) if node.draining => self.problem(name, format!("shard {shard}: node {id} drains")),
                Some(_) if self.lost(cluster, *id) => self.problem(name, format!("shard {shard}: node {id} is lost")),
                Some(_) => {}
            }
        }
    }

    fn lost(&self, cluster: &Cluster, id: u64) -> bool {
        let Some(node) = cluster.nodes.iter().find(|node| node.id == id) else { return false };
        let by_disk = self.observed.places.iter().any(|place| {
            place.name == node.name
                && match place.disk.fresh() {
                    Some(Disk::Gone) => true,
                    Some(Disk::Blank { uuid: Some(uuid) }) => *uuid != node.uuid,
                    Some(Disk::Member { node_id, .. }) => *node_id != id,
                    _ => false,
                }
        });
        let emptied = self.observed.places.iter().any(|place| place.name == node.name && place.cordoned);
        let least = if emptied { 60 * 60 * 1000 } else { 0 };
        let by_silence = self.desired.replace_after_ms.is_some_and(|limit| node.silent_for_ms >= limit.max(least));
        node.silent_for_ms > 2_000 && (by_disk || by_silence)
    }

    fn reconfigure(&mut self, name: &str, moves: &[Move], cluster: &Cluster) {
        let mut flying: BTreeSet<u32> = cluster.shards.iter().filter(|shard| on_its_way(shard)).map(|s| s.id).collect();
        let mut seen = BTreeSet::new();
        for change in moves {
            let Some(shard) = cluster.shards.iter().find(|shard| shard.id == change.shard) else {
                self.problem(name, format!("shard {} does not exist", change.shard));
                continue;
            };
            if !seen.insert(shard.id) {
                self.problem(name, format!("shard {} is moved twice", shard.id));
            }
            let before: BTreeSet<u64> = shard.target.iter().copied().collect();
            self.voters(name, shard.id, &change.nodes, cluster, &before);
            if change.nodes.iter().filter(|node| !before.contains(node)).count() > 1 {
                self.problem(name, format!("shard {} changes more than one replica at a time", shard.id));
            }
            let voter = |node: &u64| voters(shard).any(|(voter, _)| voter == *node);
            let given_up = || shard.target.iter().filter(|node| !change.nodes.contains(node));
            let turns = given_up().all(|node| self.lost(cluster, *node) || !voter(node));
            if flying.contains(&shard.id) && !turns {
                self.problem(name, format!("shard {} is under a change already", shard.id));
            }
            self.quorum(name, shard, &change.nodes);
            if change.expected_version != shard.version {
                self.problem(name, format!("shard {}: version {} was not seen", shard.id, change.expected_version));
            }
            flying.insert(shard.id);
        }
        let new = moves.iter().filter(|m| !cluster.shards.iter().any(|s| s.id == m.shard && on_its_way(s))).count();
        if new > 0 && flying.len() > IN_FLIGHT {
            self.problem(name, format!("{} shards in flight, at most {IN_FLIGHT}", flying.len()));
        }
    }

    /// A change needs a quorum of caught-up voters now, and of the new target once its new nodes have caught up.
    fn quorum(&mut self, name: &str, shard: &Shard, nodes: &[u64]) {
        let live: BTreeSet<u64> = voters(shard).filter(|(_, caught_up)| *caught_up).map(|(node, _)| node).collect();
        if !shard.fresh || shard.leader.is_none() || live.len() < voters(shard).count() / 2 + 1 {
            self.problem(name, format!("shard {} has no quorum to move with", shard.id));
        }
        let stay = nodes.iter().filter(|node| live.contains(node)).count();
        let new = nodes.iter().filter(|node| !shard.target.contains(node)).count();
        if nodes.len() > 1 && stay == 0 {
            self.problem(name, format!("shard {} gives up every caught-up copy at once", shard.id));
        }
        if stay + new < nodes.len() / 2 + 1 {
            self.problem(name, format!("shard {} would have no quorum after the move", shard.id));
        }
    }

    fn transfer(&mut self, name: &str, transfers: &[(u32, u64)], cluster: &Cluster) {
        for (id, to) in transfers {
            let voter = cluster
                .shards
                .iter()
                .filter(|shard| shard.id == *id)
                .any(|shard| shard.fresh && voters(shard).any(|(node, caught_up)| node == *to && caught_up));
            if !voter {
                self.problem(name, format!("shard {id}: node {to} is no caught-up voter"));
            }
            let fit = cluster.nodes.iter().any(|node| node.id == *to && !node.draining && !node.leaders_away);
            if !fit || self.lost(cluster, *to) {
                self.problem(name, format!("shard {id}: node {to} takes no leaders"));
            }
        }
    }

    fn drain(&mut self, name: &str, node: u64, cluster: &Cluster) {
        let active = cluster.nodes.iter().filter(|other| !other.draining && other.id != node).count();
        if active < cluster.replication_factor as usize {
            self.problem(
                name,
                format!("{active} active nodes would be left for {} copies", cluster.replication_factor),
            );
        }
        if !cluster.nodes.iter().any(|other| other.id == node && !other.draining) {
            self.problem(name, "not an active member");
        }
    }

    fn remove(&mut self, name: &str, node: u64, cluster: &Cluster) {
        let leaves = cluster.nodes.iter().any(|member| member.id == node && member.draining);
        if !leaves && !self.lost(cluster, node) {
            self.problem(name, "neither draining nor lost");
        }
        let heard = cluster.nodes.iter().any(|member| member.id == node && member.silent_for_ms <= 2_000);
        if heard && cluster.stop_reserved.is_some_and(|other| other != node) {
            self.problem(name, "the stop of another node is reserved");
        }
        for shard in &cluster.shards {
            if !shard.fresh {
                self.problem(name, format!("shard {} was not heard", shard.id));
            }
            if shard.target.contains(&node) || shard.replicas.iter().any(|replica| replica.node == node) {
                self.problem(name, format!("shard {} needs it", shard.id));
            }
        }
    }

    fn is_reserved(&self, node: u64, cluster: &Cluster) -> bool {
        cluster.stop_reserved.or(self.reserved) == Some(node)
    }

    fn reserve(&mut self, name: &str, node: u64, cluster: &Cluster) {
        if !cluster.nodes.iter().any(|member| member.id == node) {
            self.problem(name, "no member");
        }
        if cluster.stop_reserved.or(self.reserved).is_some_and(|other| other != node) {
            self.problem(name, "the stop of another node is reserved");
        }
        self.keeps_quorums(name, node, cluster);
    }

    fn release(&mut self, name: &str, node: u64, cluster: &Cluster) {
        if cluster.stop_reserved != Some(node) {
            self.problem(name, "its stop is not reserved");
        }
        if !cluster.nodes.iter().any(|member| member.id == node && member.silent_for_ms <= 2_000) {
            self.problem(name, "it is not heard");
        }
    }

    /// Every shard that has a voter there keeps a quorum of caught-up voters without it, by its leader's word.
    fn keeps_quorums(&mut self, name: &str, node: u64, cluster: &Cluster) {
        for shard in &cluster.shards {
            let voters: Vec<_> = shard.replicas.iter().filter(|replica| replica.role != Role::Learner).collect();
            if !shard.replicas.iter().any(|replica| replica.node == node) {
                continue;
            }
            let left = voters.iter().filter(|voter| voter.node != node && voter.caught_up && shard.fresh).count();
            if left * 2 <= voters.len() {
                self.problem(name, format!("shard {} would keep {left} of {} voters", shard.id, voters.len()));
            }
        }
    }

    fn restart(&mut self, name: &str, index: u32) {
        let Some(place) = self.place(index) else {
            self.problem(name, "no such place");
            return;
        };
        if place.restart.is_none() {
            self.problem(name, "nobody asked for it");
        }
        if let Some(Disk::Member { cluster_id, .. }) = place.disk.known()
            && Some(cluster_id) != self.observed.cluster_id.as_ref()
        {
            self.problem(name, "a disk of another cluster");
        }
        match place.process.fresh() {
            Some(Process::Starting) => {}
            Some(Process::Running) => match self.observed.cluster.fresh() {
                Some(cluster) => self.restart_running(name, place, cluster),
                None if self.observed.founded || place.disk.known().is_some() => {
                    self.problem(name, "its code runs, and the cluster's word is not fresh");
                }
                None => {}
            },
            Some(Process::Stopped) | None => self.problem(name, "the process is not known to run or to start"),
        }
    }

    fn restart_running(&mut self, name: &str, place: &Place, cluster: &Cluster) {
        let empty = matches!(place.disk.fresh(), Some(Disk::Blank { .. } | Disk::Gone));
        let may_be_there = |node: &&Node| match place.disk.known() {
            Some(Disk::Member { node_id, .. }) => *node_id == node.id,
            _ => place.name == node.name && (!empty || node.silent_for_ms <= 2_000),
        };
        let nodes: Vec<_> = cluster.nodes.iter().filter(may_be_there).collect();
        if nodes.len() > 1 {
            self.problem(name, "which member runs there is not known");
        }
        let Some(node) = nodes.first() else { return };
        if node.draining && !self.desired.draining.contains(&node.id) {
            self.problem(name, "the node leaves");
        }
        if cluster.replication_factor == 1 {
            return;
        }
        if !self.is_reserved(node.id, cluster) {
            self.problem(name, "its stop is not reserved");
        }
        if node.silent_for_ms <= 2_000 && cluster.shards.iter().any(|shard| shard.leader == Some(node.id)) {
            self.problem(name, "it leads");
        }
        self.keeps_quorums(name, node.id, cluster);
    }

    fn retire(&mut self, name: &str, index: u32, cluster: &Cluster) {
        let Some(place) = self.place(index) else {
            self.problem(name, "no such place");
            return;
        };
        match place.disk.fresh() {
            Some(Disk::Member { cluster_id, node_id }) => {
                if *cluster_id != cluster.cluster_id {
                    self.problem(name, "a disk of another cluster");
                } else if cluster.nodes.iter().any(|node| node.id == *node_id) {
                    self.problem(name, format!("node {node_id} is a member"));
                }
            }
            Some(Disk::Blank { .. } | Disk::Gone) => {
                if cluster.nodes.iter().any(|node| node.name == place.name) {
                    self.problem(name, "the map has a node of this name");
                }
            }
            None => self.problem(name, "the disk was not read"),
        }
    }
}

fn voters(shard: &Shard) -> impl Iterator<Item = (u64, bool)> {
    shard.replicas.iter().filter(|replica| replica.role == Role::Voter).map(|replica| (replica.node, replica.caught_up))
}

fn on_its_way(shard: &Shard) -> bool {
    let mut roles: BTreeMap<u64, Role> = shard.replicas.iter().map(|replica| (replica.node, replica.role)).collect();
    let all_there = shard.target.iter().all(|node| roles.remove(node) == Some(Role::Voter));
    !all_there || !roles.is_empty()
}
