//! How a shard's group elects, catches up and walks to its target: the semantics of `granary-store`'s `walk.rs`, written
//! anew for states of a few bytes. Written from what it promises, so that an error there does not repeat itself here.

use crate::{
    few::Few,
    world::{Replica, Role, Shard, World},
};

impl Shard {
    /// A whole group, led by the first.
    pub fn whole(nodes: &[u8]) -> Self {
        let replicas = nodes.iter().map(|&node| Replica { node, role: Role::Voter, data: true }).collect();
        Self { leader: nodes[0], replicas, target: nodes.iter().copied().collect() }
    }

    pub fn replica(&self, node: u8) -> Option<&Replica> {
        self.replicas.iter().find(|replica| replica.node == node)
    }

    /// Whether a majority of both halves passes.
    pub fn majority(&self, passes: impl Fn(&Replica) -> bool) -> bool {
        let half = |only: Role| {
            let voters = || self.replicas.iter().filter(move |r| r.role == Role::Voter || r.role == only);
            voters().filter(|replica| passes(replica)).count() > voters().count() / 2
        };
        half(Role::Incoming) && half(Role::Outgoing)
    }

    /// Whether what is written now reaches a majority.
    pub fn commits(&self, alive: u32) -> bool {
        self.majority(|replica| replica.data && alive & 1 << replica.node != 0)
    }

    /// Whether this node can lead: it votes, is up, has everything, and a majority hears it.
    pub fn can_lead(&self, node: u8, alive: u32) -> bool {
        let able = |r: &Replica| r.role != Role::Learner && r.data && alive & 1 << r.node != 0;
        self.replica(node).is_some_and(able) && self.majority(|replica| alive & 1 << replica.node != 0)
    }

    /// Whether the group is where its target says.
    pub fn arrived(&self) -> bool {
        self.replicas.len() == self.target.len()
            && self.replicas.iter().all(|r| r.role == Role::Voter && self.target.contains(&r.node))
    }

    /// The version of its group, as far as that matters: who is in it and how.
    pub fn group(&self) -> Few<(u8, Role), 7> {
        self.replicas.iter().map(|replica| (replica.node, replica.role)).collect()
    }

    /// Where its leader may take it next; none: it waits, or is there. More than one: whom it hands over to is open.
    pub fn walk(&self, alive: u32, unhealthy_too: bool) -> Few<Self, 6> {
        let mut next = Few::default();
        if self.leader == 0 {
            return next;
        }
        let in_target = |node: u8| self.target.contains(&node);
        let caught_up = |r: &Replica| r.data && alive & 1 << r.node != 0;
        let votes = |r: &Replica| matches!(r.role, Role::Voter | Role::Incoming);
        let hand_over = |next: &mut Few<Self, 6>, only_target: bool| {
            let able = |r: &&Replica| r.node != self.leader && caught_up(r) && votes(r);
            for heir in self.replicas.iter().filter(able).filter(|r| !only_target || in_target(r.node)) {
                next.push(Self { leader: heir.node, ..*self });
            }
        };
        let own = self.replica(self.leader).copied().unwrap_or_default();
        if self.replicas.iter().any(|r| matches!(r.role, Role::Incoming | Role::Outgoing)) {
            if votes(&own) {
                next.push(self.left_joint());
            } else {
                hand_over(&mut next, true);
                if next.is_empty() {
                    hand_over(&mut next, false);
                }
            }
        } else if let Some(stray) = self.replicas.iter().find(|r| r.role == Role::Learner && !in_target(r.node)) {
            let mut without = *self;
            without.replicas.retain(|replica| replica.node != stray.node);
            next.push(without);
        } else if let Some(missing) = self.target.iter().find(|node| self.replica(**node).is_none()) {
            let mut with = *self;
            with.replicas.push(Replica { node: *missing, role: Role::Learner, data: false });
            next.push(with);
        } else if !self.arrived() {
            let learners = || self.replicas.iter().filter(|r| r.role == Role::Learner);
            if !unhealthy_too && learners().any(|learner| !caught_up(learner)) {
                return next;
            }
            if in_target(self.leader) {
                let healthy = self.replicas.iter().filter(|r| in_target(r.node) && caught_up(r)).count();
                if unhealthy_too || healthy > self.target.len() / 2 {
                    next.push(self.changed(true));
                }
            } else if self.replicas.iter().any(|r| r.role == Role::Voter && in_target(r.node)) {
                hand_over(&mut next, true);
            } else if learners().next().is_some() {
                next.push(self.changed(false));
            }
        }
        // A change is an entry of the log: it takes a majority that can write it.
        if !unhealthy_too && !self.commits(alive) {
            next.retain(|changed| changed.leader != self.leader);
        }
        next
    }

    /// Learners become voters, and voters that shall not be leave: at once when it is one change, else joint.
    fn changed(&self, remove: bool) -> Self {
        let mut next = *self;
        for replica in next.replicas.iter_mut() {
            match (replica.role, self.target.contains(&replica.node)) {
                (Role::Learner, true) => replica.role = Role::Incoming,
                (Role::Voter, false) if remove => replica.role = Role::Outgoing,
                _ => {}
            }
        }
        let changes = next.replicas.iter().filter(|r| r.role != Role::Voter).count();
        if changes == 1 { next.left_joint() } else { next }
    }

    fn left_joint(&self) -> Self {
        let mut next = *self;
        next.replicas.retain(|replica| replica.role != Role::Outgoing);
        for replica in next.replicas.iter_mut().filter(|replica| replica.role == Role::Incoming) {
            replica.role = Role::Voter;
        }
        next
    }
}

impl World {
    /// Makes this node the shard's leader. A new leader of the meta shard has heard of nobody yet: it counts every
    /// silence from now on.
    pub fn lead(&mut self, shard: usize, node: u8) {
        self.shards[shard].leader = node;
        if shard == 0 {
            self.nodes.iter_mut().for_each(|node| (node.silence, node.heard) = (0, false));
        }
    }
}
