//! What may be stopped or removed now, and why not: pure functions on the cluster's word. Knows no plan and no wish.

use crate::observed::{Cluster, Role, Shard};

/// Voters of a shard that live and have caught up, without one node (0: with all), and all its voters.
fn voters(shard: &Shard, without: u64) -> (usize, usize) {
    let voters = shard.replicas.iter().filter(|replica| replica.role != Role::Learner);
    let live = voters.clone().filter(|voter| voter.caught_up && voter.node != without).count();
    (if shard.fresh { live } else { 0 }, voters.count())
}

/// Whether every shard keeps a quorum of caught-up voters without this node. The reasons name each shard that would not
/// ("shard 17 would keep 1 of 3 voters"); a shard whose leader was not heard counts as having none.
///
/// # Errors
/// One line for each shard that forbids it, or for a stop of another node that is reserved, or for an unknown node.
pub fn can_stop(cluster: &Cluster, node: u64) -> Result<(), Vec<String>> {
    if !cluster.nodes.iter().any(|member| member.id == node) {
        return Err(vec![format!("node {node} is not in the map")]);
    }
    let mut reasons = Vec::new();
    if let Some(other) = cluster.stop_reserved.filter(|other| *other != node) {
        reasons.push(format!("the stop of node {other} is reserved"));
    }
    for shard in cluster.shards.iter().filter(|shard| shard.replicas.iter().any(|replica| replica.node == node)) {
        let (live, all) = voters(shard, node);
        if live < all / 2 + 1 {
            reasons.push(format!("shard {} would keep {live} of {all} voters", shard.id));
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

/// Whether no group and no target needs this node, by a fresh word of every group.
///
/// # Errors
/// One line for each shard that still needs it, or that nobody heard lately.
pub fn can_remove(cluster: &Cluster, node: u64) -> Result<(), Vec<String>> {
    let reason = |shard: &Shard| {
        if let Some(replica) = shard.replicas.iter().find(|replica| replica.node == node) {
            let (live, all) = voters(shard, node);
            Some(match replica.role {
                Role::Learner => format!("shard {} has a learner there", shard.id),
                Role::Voter | Role::Outgoing => format!("shard {} would keep {live} of {all} voters", shard.id),
            })
        } else if shard.target.contains(&node) {
            Some(format!("shard {} shall have a replica there", shard.id))
        } else if !shard.fresh {
            Some(format!("shard {} has not reported", shard.id))
        } else {
            None
        }
    };
    let reasons: Vec<_> = cluster.shards.iter().filter_map(reason).collect();
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

/// Voters that may still be lost, in the worst shard: min over shards of live, caught-up voters minus its quorum.
/// Negative: some shard has no quorum now. 0 for a cluster without shards.
pub fn quorum_margin(cluster: &Cluster) -> i64 {
    let margin = |shard: &Shard| {
        let (live, all) = voters(shard, 0);
        live as i64 - (all as i64 / 2 + 1)
    };
    cluster.shards.iter().map(margin).min().unwrap_or(0)
}
