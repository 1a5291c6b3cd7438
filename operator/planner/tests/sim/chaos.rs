//! What happens to a world beside its plans: wishes that change, faults, and observations that are stale or missing.

use granary_planner::observed::{Observed, Process, Seen};
use granary_planner::plan::{Plan, Step};
use granary_planner::safety;

use super::World;

/// What may happen before a round. The numbers choose a node, whatever nodes there are.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// Nothing.
    Quiet,
    /// `replicas` is the replication factor plus this.
    Replicas(u32),
    /// A node is not heard any more, when no other is silent and every shard can bear it.
    Silence(usize),
    /// The silent ones are heard again.
    Return,
    /// A process stops.
    Kill(usize),
    /// A disk is emptied, when no other node is silent and every shard can bear it.
    Wipe(usize),
    /// A disk is gone for good, and its process waits for it; when no other is silent and every shard can bear it.
    Lose(usize),
    /// The spec changes so that everything has to be started anew.
    Revise,
    /// A person begins to empty a node's machine, until things return.
    Cordon(usize),
    /// A person asks for a node's drain.
    Drain(usize),
    /// The person takes it back.
    Undrain,
}

impl World {
    pub fn happen(&mut self, event: Event) {
        let ids: Vec<u64> = self.cluster().nodes.iter().map(|node| node.id).collect();
        let id = |number: usize| ids[number % ids.len()];
        match event {
            Event::Quiet => return,
            Event::Replicas(more) => self.desired.replicas = self.desired.replication_factor + more,
            Event::Silence(number) if self.can_bear(id(number)) => self.silence(id(number), 0),
            Event::Wipe(number) if self.can_bear(id(number)) => self.wipe(id(number)),
            Event::Kill(number) => self.kill(id(number)),
            Event::Return => self.all_return(),
            Event::Drain(number) => self.desired.draining.push(id(number)),
            Event::Undrain => self.desired.draining.clear(),
            Event::Lose(number) if self.can_bear(id(number)) => self.lose(id(number)),
            Event::Revise => self.revise(false),
            Event::Cordon(number) => {
                if let Some(place) = self.place_of(id(number)) {
                    place.cordoned = true;
                }
            }
            Event::Silence(_) | Event::Wipe(_) | Event::Lose(_) => return,
        }
        self.new_era();
    }

    fn can_bear(&mut self, node: u64) -> bool {
        // More than a third lost is for a person to decide: of those that are left when others have gone.
        let stay = self.cluster().nodes.iter().filter(|node| !node.draining).count();
        self.dead.is_empty() && stay >= 3 && safety::can_stop(self.cluster(), node).is_ok()
    }

    fn kill(&mut self, node: u64) {
        if self.dead.contains(&node) {
            return;
        }
        if let Some(place) = self.place_of(node) {
            place.process = Seen::Fresh(Process::Stopped);
            self.silence(node, 0);
        }
    }

    /// Every silent node that still has its disk is heard again.
    fn all_return(&mut self) {
        self.observed.places.iter_mut().for_each(|place| place.cordoned = false);
        for node in self.dead.clone() {
            let kept = |place: &mut super::Place| {
                matches!(place.disk, Seen::Fresh(super::Disk::Member { node_id, .. }) if node_id == node)
                    && place.process == Seen::Fresh(Process::Running)
            };
            if self.place_of(node).is_some_and(kept) {
                self.hear(node);
            }
        }
    }

    /// A round of a restless operator: it sees less than there is, and may be stopped in the middle of its steps.
    pub fn restless_round(&mut self) {
        let seen = self.blurred();
        let mut plan = self.plan_from(&seen);
        self.notice_losses(&seen);
        if self.chance(20) {
            self.cut(&mut plan);
        }
        self.apply(&plan);
        self.pass();
    }

    pub(super) fn cut(&mut self, plan: &mut Plan) {
        let kept = self.random(plan.steps.len() + 1);
        plan.steps.truncate(kept);
        if let Some(Step::Reconfigure { moves }) = plan.steps.last_mut().map(|planned| &mut planned.step) {
            let kept = self.random(moves.len() + 1);
            moves.truncate(kept);
        }
    }

    /// What an operator sees: parts of it stale or not at all.
    pub(super) fn blurred(&mut self) -> Observed {
        let mut seen = self.observed.clone();
        let no_answer = || "no answer".to_owned();
        for place in &mut seen.places {
            match self.random(20) {
                0 => place.disk = Seen::Unknown(no_answer()),
                1 => {
                    place.disk =
                        place.disk.known().map_or_else(|| Seen::Unknown(no_answer()), |d| Seen::Stale(d.clone()))
                }
                2 => place.process = Seen::Unknown(no_answer()),
                _ => {}
            }
        }
        if let Seen::Fresh(cluster) = &mut seen.cluster {
            for shard in &mut cluster.shards {
                if self.chance(3) {
                    (shard.fresh, shard.leader) = (false, None);
                }
            }
            let answers = cluster.shards.first().is_some_and(|meta| meta.leader.is_some());
            match self.random(10) {
                0 => seen.cluster = Seen::Stale(cluster.clone()),
                1 => seen.cluster = Seen::Unknown(no_answer()),
                _ if !answers => seen.cluster = Seen::Unknown(no_answer()),
                _ => {}
            }
        }
        seen
    }
}
