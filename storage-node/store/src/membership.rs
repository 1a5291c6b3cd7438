//! A group's membership as its state machine has it: how an entry of the log changes it.

use bytes::Bytes;
use granary_proto::{
    map::{Group, Replica, ReplicaRole},
    raft::ConfState,
    storage::{MembershipEntry, MembershipStep},
};
use prost::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};

/// The change to be proposed, with the context that goes with it. Several steps make a joint change that is left by an
/// entry of its own, so that a leader on its way out can hand over before.
pub(crate) fn proposal(steps: Vec<MembershipStep>) -> (Vec<u8>, ConfChangeV2) {
    let entry = MembershipEntry { steps };
    let change = change_of(&entry);
    let context = if entry.steps.is_empty() { Vec::new() } else { entry.encode_to_vec() };
    (context, change)
}

/// Decodes the context of a membership entry. Our own format is read, never raft's: bytes from other nodes are not
/// given to rust-protobuf.
pub(crate) fn decode(context: &Bytes) -> Result<MembershipEntry, prost::DecodeError> {
    MembershipEntry::decode(context.clone())
}

/// As `raft` wants it.
pub(crate) fn change_of(entry: &MembershipEntry) -> ConfChangeV2 {
    let mut change = ConfChangeV2::default();
    if entry.steps.len() > 1 {
        change.set_transition(ConfChangeTransition::Explicit);
    }
    let changes: Vec<ConfChangeSingle> = entry
        .steps
        .iter()
        .map(|step| {
            let mut single = ConfChangeSingle::default();
            single.node_id = step.replica_id;
            single.set_change_type(match step.role() {
                ReplicaRole::Voter => ConfChangeType::AddNode,
                ReplicaRole::Learner => ConfChangeType::AddLearnerNode,
                ReplicaRole::Outgoing | ReplicaRole::Unspecified => ConfChangeType::RemoveNode,
            });
            single
        })
        .collect();
    change.set_changes(changes.into());
    change
}

/// The group after `entry` led to `conf`: version one higher, replicas in order of id.
pub(crate) fn group_after(before: &Group, entry: &MembershipEntry, conf: &ConfState) -> Group {
    let node_of = |id: u64| {
        let added = entry.steps.iter().find(|step| step.replica_id == id && step.node_id != 0).map(|step| step.node_id);
        added.or_else(|| before.replicas.iter().find(|replica| replica.id == id).map(|replica| replica.node_id))
    };
    let ids = before.replicas.iter().map(|replica| replica.id);
    let highest = ids.chain([before.highest_replica_id]).max().unwrap_or_default();
    group_of((before.version + 1, highest), conf, |id| node_of(id).unwrap_or(0))
}

/// A group with roles as `conf` has them; before, the highest id in it was `highest`.
fn group_of((version, highest): (u64, u64), conf: &ConfState, node_of: impl Fn(u64) -> u64) -> Group {
    let role_of = |id: &u64| {
        if conf.voters.contains(id) {
            ReplicaRole::Voter
        } else if conf.voters_outgoing.contains(id) {
            ReplicaRole::Outgoing
        } else {
            ReplicaRole::Learner
        }
    };
    let mut ids: Vec<u64> =
        [&conf.voters, &conf.learners, &conf.voters_outgoing].into_iter().flatten().copied().collect();
    ids.sort_unstable();
    ids.dedup();
    Group {
        version,
        replicas: ids.iter().map(|id| Replica { id: *id, node_id: node_of(*id), role: role_of(id).into() }).collect(),
        joint: !conf.voters_outgoing.is_empty(),
        highest_replica_id: ids.last().copied().unwrap_or_default().max(highest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joint_change_names_the_nodes_of_added_replicas_and_raises_the_version() {
        let conf = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
        let before = group_of((7, 0), &conf, |id| id * 10);
        let entry = MembershipEntry {
            steps: vec![
                MembershipStep { replica_id: 4, node_id: 44, role: ReplicaRole::Voter.into() },
                MembershipStep { replica_id: 3, node_id: 0, role: ReplicaRole::Outgoing.into() },
            ],
        };
        let conf = ConfState { voters: vec![1, 2, 4], voters_outgoing: vec![1, 2, 3], ..ConfState::default() };
        let after = group_after(&before, &entry, &conf);
        assert_eq!(after.version, 8);
        assert!(after.joint);
        let seen: Vec<_> = after.replicas.iter().map(|replica| (replica.id, replica.node_id, replica.role())).collect();
        assert_eq!(
            seen,
            [
                (1, 10, ReplicaRole::Voter),
                (2, 20, ReplicaRole::Voter),
                (3, 30, ReplicaRole::Outgoing),
                (4, 44, ReplicaRole::Voter)
            ]
        );
    }

    #[test]
    fn the_highest_id_is_remembered_when_its_replica_is_gone() {
        let entry = MembershipEntry::default();
        let conf = |learner| ConfState { voters: vec![1, 2], learners: vec![learner], ..ConfState::default() };
        let with = group_of((7, 0), &conf(9), |id| id);
        assert_eq!(with.highest_replica_id, 9);
        let without = group_after(&with, &entry, &ConfState { voters: vec![1, 2], ..ConfState::default() });
        assert_eq!(without.highest_replica_id, 9);
        assert_eq!(group_after(&without, &entry, &conf(11)).highest_replica_id, 11);
    }

    #[test]
    fn an_empty_entry_leaves_the_joint_membership() {
        let (context, change) = proposal(Vec::new());
        assert!(context.is_empty());
        assert!(change.get_changes().is_empty());
    }
}
