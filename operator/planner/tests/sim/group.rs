//! How a shard's group walks to its target, as the nodes' own leaders do: learner, caught up, joint, done.

use std::collections::BTreeSet;

use granary_planner::observed::{Replica, Role, Shard};

/// A whole group on these nodes, led by the first.
pub fn shard(id: u32, nodes: &[u64]) -> Shard {
    let replicas = nodes.iter().map(|node| Replica { node: *node, role: Role::Voter, caught_up: true }).collect();
    Shard { id, version: 1, leader: nodes.first().copied(), fresh: true, replicas, target: nodes.to_vec(), bytes: 100 }
}

/// One step, or nothing while the group has no leader or has to wait. Panics when a change would cost a quorum.
pub fn walk(shard: &mut Shard, dead: &BTreeSet<u64>) {
    elect(shard, dead);
    if shard.leader.is_none() {
        return;
    }
    if let Some(behind) =
        shard.replicas.iter_mut().find(|r| r.role != Role::Learner && !r.caught_up && !dead.contains(&r.node))
    {
        behind.caught_up = true;
        return;
    }
    let carried = has_quorum(shard);
    if change(shard, dead) {
        shard.version += 1;
        assert!(!carried || has_quorum(shard), "a change cost the quorum: {shard:?}");
        assert!(shard.replicas.iter().any(|r| r.caught_up), "the last copy was removed: {shard:?}");
        elect(shard, dead);
    }
}

/// Whether a quorum of its voters (of the new half while joint) has caught up.
pub fn has_quorum(shard: &Shard) -> bool {
    let voters: Vec<_> = shard.replicas.iter().filter(|r| r.role == Role::Voter).collect();
    voters.iter().filter(|voter| voter.caught_up).count() > voters.len() / 2
}

/// A dead leader is followed by a live voter, when there is a quorum of them.
pub fn elect(shard: &mut Shard, dead: &BTreeSet<u64>) {
    for replica in shard.replicas.iter_mut().filter(|replica| dead.contains(&replica.node)) {
        replica.caught_up = false;
    }
    let live = |replica: &&Replica| !dead.contains(&replica.node);
    let half = |left: Role| {
        let voters = || shard.replicas.iter().filter(|r| r.role == Role::Voter || r.role == left);
        voters().filter(live).count() > voters().count() / 2
    };
    let quorum = half(Role::Voter) && half(Role::Outgoing);
    let able = |node: u64| shard.replicas.iter().any(|r| r.node == node && r.role == Role::Voter && live(&r));
    if !quorum {
        shard.leader = None;
    } else if !shard.leader.is_some_and(able) {
        let voters = shard.replicas.iter_mut().filter(|r| r.role == Role::Voter && !dead.contains(&r.node));
        let next = voters.max_by_key(|replica| replica.caught_up);
        shard.leader = next.map(|replica| {
            replica.caught_up = true;
            replica.node
        });
    }
    shard.fresh = shard.leader.is_some();
}

fn change(shard: &mut Shard, dead: &BTreeSet<u64>) -> bool {
    let target = shard.target.clone();
    let there = |shard: &Shard, node: u64| shard.replicas.iter().any(|replica| replica.node == node);
    if shard.replicas.iter().any(|replica| replica.role == Role::Outgoing) {
        shard.replicas.retain(|replica| replica.role != Role::Outgoing);
        return true;
    }
    if let Some(stray) = shard.replicas.iter().position(|r| r.role == Role::Learner && !target.contains(&r.node)) {
        shard.replicas.remove(stray);
        return true;
    }
    if let Some(node) = target.iter().copied().find(|node| !there(shard, *node)) {
        shard.replicas.push(Replica { node, role: Role::Learner, caught_up: false });
        return true;
    }
    if let Some(learner) = shard.replicas.iter_mut().find(|r| r.role == Role::Learner && !r.caught_up) {
        learner.caught_up = !dead.contains(&learner.node);
        return false;
    }
    let healthy = shard.replicas.iter().filter(|r| r.caught_up && target.contains(&r.node)).count();
    let differs = shard.replicas.iter().any(|r| !target.contains(&r.node) || r.role == Role::Learner);
    if !differs || healthy <= target.len() / 2 {
        return false;
    }
    for replica in &mut shard.replicas {
        replica.role = if target.contains(&replica.node) { Role::Voter } else { Role::Outgoing };
    }
    true
}
