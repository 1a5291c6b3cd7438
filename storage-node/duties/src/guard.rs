//! May a node be stopped, may it be removed, is it drained? Pure. What is not known counts against it: nothing that takes
//! copies away follows from silence (HAZARDS H26).

use std::time::Instant;

use granary_common::{NodeId, ShardId};
use granary_proto::{
    admin::GetDrainProgressResponse,
    map::{ClusterMap, Group, NodeState, Replica, ReplicaRole, Shard},
    raft::LedShard,
};

use crate::view::{FRESH, FreshWord, SILENT, View};

/// Most reasons that an answer lists, the line that counts the others among them.
pub const MAX_REASONS: usize = 16;

/// Why the node must not be stopped now; empty: every shard would keep a quorum of voters that are active and caught up,
/// by the word of its leader.
pub fn can_stop(map: &ClusterMap, view: &View, node: NodeId, now: Instant) -> Vec<String> {
    let reason = |shard: &Shard| match view.fresh(ShardId(shard.id), now) {
        None => Some(unknown(shard.id)),
        Some(word) if !has_voter(word.group, node) => None,
        Some(word) => lost_quorum(map, &word, node),
    };
    capped(map.shards.iter().filter_map(reason).collect())
}

/// Why the node must not be removed; empty: no target and no group names it, by the word of every shard's leader, and the
/// node itself holds no replica or has been silent for [`SILENT`].
pub fn can_remove(map: &ClusterMap, view: &View, node: NodeId, now: Instant) -> Vec<String> {
    let mut reasons: Vec<String> = map.shards.iter().filter_map(|shard| needed_by(shard, view, node, now)).collect();
    let silent_for = view.silent_for(node, now);
    if silent_for < SILENT {
        match view.node(node) {
            Some(word) => reasons.extend(
                word.held
                    .iter()
                    .map(|held| format!("{node} still holds replica {} of shard {}", held.replica_id, held.shard_id)),
            ),
            None => reasons.push(format!(
                "{node} is unknown: the meta shard's leader has listened for {} s only, and counts silence from {} s on",
                silent_for.as_secs(),
                SILENT.as_secs()
            )),
        }
    }
    capped(reasons)
}

/// What is left of a drain.
pub fn drain_progress(map: &ClusterMap, view: &View, node: NodeId, now: Instant) -> GetDrainProgressResponse {
    let draining = map.nodes.iter().any(|member| member.id == node.0 && member.state() == NodeState::Draining);
    let mut progress = GetDrainProgressResponse { draining, drained: true, ..GetDrainProgressResponse::default() };
    for shard in &map.shards {
        let word = view.fresh(ShardId(shard.id), now);
        let group = word.map(|word| word.group).or(shard.group.as_ref());
        let there = group.is_some_and(|group| names(&group.replicas, node));
        progress.replicas_left += u32::from(there);
        progress.leaders_left += u32::from(word.is_some_and(|word| word.leader == node));
        progress.bytes_left += word.filter(|_| there).map_or(0, |word| word.report.bytes);
        let wanted = shard.target.as_ref().is_some_and(|target| names(&target.replicas, node));
        progress.drained &= word.is_some() && !there && !wanted;
    }
    progress
}

fn needed_by(shard: &Shard, view: &View, node: NodeId, now: Instant) -> Option<String> {
    let id = shard.id;
    if shard.target.as_ref().is_some_and(|target| names(&target.replicas, node)) {
        return Some(format!("the target of shard {id} names {node}"));
    }
    match view.fresh(ShardId(id), now) {
        None => Some(unknown(id)),
        Some(word) if names(&word.group.replicas, node) => {
            Some(format!("the group of shard {id} has a replica on {node}"))
        }
        Some(_) if shard.group.as_ref().is_some_and(|group| names(&group.replicas, node)) => {
            Some(format!("the map still shows a replica of shard {id} on {node}"))
        }
        Some(_) => None,
    }
}

/// Why the group would have no quorum without the node. Within a joint change both halves need one.
fn lost_quorum(map: &ClusterMap, word: &FreshWord<'_>, node: NodeId) -> Option<String> {
    let healthy = |replica: &Replica| {
        let id = replica.node_id;
        id != node.0 && (id == word.leader.0 || active_and_caught_up(word.report, replica.id))
    };
    let of_role = |role| word.group.replicas.iter().filter(move |replica| replica.role() == role);
    let voters = of_role(ReplicaRole::Voter).count();
    let kept = of_role(ReplicaRole::Voter).filter(|replica| healthy(replica)).count();
    let id = word.report.shard_id;
    if kept < quorum(voters) {
        return Some(format!("shard {id} would keep {kept} of {voters} voters"));
    }
    if !word.group.joint {
        return None;
    }
    // Which of the voters were in the old half too is not reported. The old half has as many as every group, so the rest
    // of it is taken to be those voters that would do worst.
    let outgoing = of_role(ReplicaRole::Outgoing).count();
    let stayed = (map.replication_factor as usize).saturating_sub(outgoing).min(voters);
    let kept_outgoing = of_role(ReplicaRole::Outgoing).filter(|replica| healthy(replica)).count();
    let kept_old = kept_outgoing + stayed.saturating_sub(voters - kept);
    let old = outgoing + stayed;
    (kept_old < quorum(old)).then(|| {
        format!(
            "shard {id} is within a change of voters, and would keep {kept_old} of the {old} voters it had before it"
        )
    })
}

fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

fn active_and_caught_up(report: &LedShard, replica: u64) -> bool {
    report.progress.iter().any(|progress| progress.replica_id == replica && progress.active && progress.caught_up)
}

fn has_voter(group: &Group, node: NodeId) -> bool {
    group.replicas.iter().any(|replica| replica.node_id == node.0 && replica.role() != ReplicaRole::Learner)
}

fn names(replicas: &[Replica], node: NodeId) -> bool {
    replicas.iter().any(|replica| replica.node_id == node.0)
}

fn unknown(shard: u32) -> String {
    format!("shard {shard} is unknown: no leader has reported it within {} s", FRESH.as_secs())
}

/// At most [`MAX_REASONS`] lines, the last of which counts what is left out.
fn capped(mut reasons: Vec<String>) -> Vec<String> {
    if reasons.len() > MAX_REASONS {
        let left_out = reasons.len() - (MAX_REASONS - 1);
        reasons.truncate(MAX_REASONS - 1);
        reasons.push(format!("and {left_out} more"));
    }
    reasons
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
