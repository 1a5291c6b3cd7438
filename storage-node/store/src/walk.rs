//! How a leader walks its group to the target that the meta shard has set: the next step, from plain values.
//!
//! Learner, catch up, joint change, leave; one change at a time. Whoever leads goes on from where the group stands, so a
//! crash in the middle is finished by the next leader (HAZARDS H26). A leader never proposes a change that takes itself
//! out: it hands over first, because a removed leader stays leader of a group that it can no longer write to.

use crate::pauses::Pauses;

/// Ticks between two times that a node that leaders shall leave hands the same leadership over, at first and at most.
const HANDING_TICKS: (u64, u64) = (40, 2_560);

/// A replica and its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Raft id.
    pub replica: u64,
    /// Node id.
    pub node: u64,
}

/// What the leader knows of a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Heard from within an election timeout.
    pub active: bool,
    /// Active, and close to the end of the log.
    pub caught_up: bool,
    /// Highest index known to be on its disk.
    pub matched: u64,
}

/// What the next step is chosen from. All lists are of Raft ids.
#[derive(Clone, Debug, Default)]
pub struct WalkView {
    /// The leader itself.
    pub own: u64,
    /// Voters; of the incoming half while joint.
    pub voters: Vec<u64>,
    /// Voters of the outgoing half; empty when not joint.
    pub outgoing: Vec<u64>,
    /// Learners.
    pub learners: Vec<u64>,
    /// Of every replica; the leader itself is active and caught up.
    pub progress: Vec<(u64, Progress)>,
    /// All voters that shall be, with their nodes.
    pub target: Vec<Member>,
    /// The highest id that any replica of the group ever had.
    pub highest: u64,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Walk {
    /// The group is as the target says.
    Settled,
    /// Nothing can be done now: a replica is not caught up yet.
    Wait,
    /// Add this learner.
    AddLearner(Member),
    /// Take this stray learner out.
    RemoveLearner(u64),
    /// Make learners voters and take voters out, in one (joint, when it is more than one) change.
    Change {
        /// Learners that become voters.
        promote: Vec<u64>,
        /// Voters that leave.
        remove: Vec<u64>,
    },
    /// End the joint membership.
    LeaveJoint,
    /// Hand leadership to this voter.
    HandOver(u64),
}

/// The next step of the leader `view.own`. An empty target asks for nothing but leaving a joint membership.
pub fn walk(view: &WalkView) -> Walk {
    let in_target = |id: u64| view.target.iter().any(|member| member.replica == id);
    if !view.outgoing.is_empty() {
        return if view.voters.contains(&view.own) {
            Walk::LeaveJoint
        } else {
            view.best(|id| view.voters.contains(&id) && in_target(id))
                .or_else(|| view.best(|id| view.voters.contains(&id)))
                .map_or(Walk::Wait, Walk::HandOver)
        };
    }
    if view.target.is_empty() {
        return Walk::Settled;
    }
    if let Some(stray) = view.learners.iter().find(|id| !in_target(**id)) {
        return Walk::RemoveLearner(*stray);
    }
    let known = |id: u64| view.voters.contains(&id) || view.learners.contains(&id);
    // In order of their ids, so that one that is not above all others was in the group, and was put out: it never comes back
    // (HAZARDS H2). Such a target is out of date.
    if let Some(missing) =
        view.target.iter().filter(|member| !known(member.replica)).min_by_key(|member| member.replica)
    {
        return if missing.replica > view.highest { Walk::AddLearner(*missing) } else { Walk::Wait };
    }
    let promote: Vec<u64> = view.learners.iter().copied().filter(|id| in_target(*id)).collect();
    let remove: Vec<u64> = view.voters.iter().copied().filter(|id| !in_target(*id)).collect();
    if promote.is_empty() && remove.is_empty() {
        return Walk::Settled;
    }
    if promote.iter().any(|id| !view.of(*id).caught_up) {
        return Walk::Wait;
    }
    if in_target(view.own) {
        let healthy = view.target.iter().filter(|member| view.of(member.replica).caught_up).count();
        return if healthy > view.target.len() / 2 { Walk::Change { promote, remove } } else { Walk::Wait };
    }
    if view.voters.iter().any(|id| in_target(*id)) {
        view.best(|id| view.voters.contains(&id) && in_target(id)).map_or(Walk::Wait, Walk::HandOver)
    } else if promote.is_empty() {
        Walk::Wait
    } else {
        // No voter can take over yet (factor 1, or all voters leave): first make one.
        Walk::Change { promote, remove: Vec::new() }
    }
}

/// Whether the leader of a node that leaders shall leave, and if `must` not for its slow disk alone, hands over now. At once
/// where the group is as it shall be, else with pauses in which it takes the steps that are its to take: the others hand it
/// back for them, and nodes that all shall be left, or do not know whose disk is slow, would send it round and round.
pub(crate) fn leaves(next: &Walk, must: bool, tick: u64, handing: &mut Pauses) -> bool {
    (must && *next == Walk::Settled) || handing.may(tick, HANDING_TICKS.0, HANDING_TICKS.1)
}

impl WalkView {
    fn of(&self, id: u64) -> Progress {
        if id == self.own {
            return Progress { active: true, caught_up: true, matched: u64::MAX };
        }
        self.progress.iter().find(|(other, _)| *other == id).map_or(Progress::default(), |(_, progress)| *progress)
    }

    /// The caught-up replica other than the leader with the most log among those that `wanted` names.
    pub(crate) fn best(&self, wanted: impl Fn(u64) -> bool) -> Option<u64> {
        self.progress
            .iter()
            .filter(|(id, progress)| *id != self.own && progress.caught_up && wanted(*id))
            .max_by_key(|(id, progress)| (progress.matched, u64::MAX - id))
            .map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn view(own: u64, voters: &[u64], learners: &[u64], target: &[u64]) -> WalkView {
        let healthy = Progress { active: true, caught_up: true, matched: 9 };
        WalkView {
            own,
            voters: voters.to_vec(),
            learners: learners.to_vec(),
            progress: voters.iter().chain(learners).map(|id| (*id, healthy)).collect(),
            highest: voters.iter().chain(learners).copied().max().unwrap_or_default(),
            target: target.iter().map(|replica| Member { replica: *replica, node: replica * 10 }).collect(),
            ..WalkView::default()
        }
    }

    fn behind(mut view: WalkView, id: u64) -> WalkView {
        view.progress.iter_mut().filter(|(other, _)| *other == id).for_each(|(_, p)| p.caught_up = false);
        view
    }

    #[test]
    fn a_replica_is_replaced_by_learner_catch_up_joint_and_leave() {
        assert_eq!(walk(&view(1, &[1, 2, 3], &[], &[1, 2, 4])), Walk::AddLearner(Member { replica: 4, node: 40 }));
        assert_eq!(walk(&behind(view(1, &[1, 2, 3], &[4], &[1, 2, 4]), 4)), Walk::Wait);
        assert_eq!(walk(&view(1, &[1, 2, 3], &[4], &[1, 2, 4])), Walk::Change { promote: vec![4], remove: vec![3] });
        let mut joint = view(1, &[1, 2, 4], &[], &[1, 2, 4]);
        joint.outgoing = vec![1, 2, 3];
        assert_eq!(walk(&joint), Walk::LeaveJoint);
        assert_eq!(walk(&view(1, &[1, 2, 4], &[], &[1, 2, 4])), Walk::Settled);
    }

    #[test]
    fn a_leader_that_shall_go_hands_over_before_anything_takes_it_out() {
        assert_eq!(walk(&view(3, &[1, 2, 3], &[4], &[1, 2, 4])), Walk::HandOver(1));
        let mut joint = view(3, &[1, 2, 4], &[], &[1, 2, 4]);
        joint.outgoing = vec![1, 2, 3];
        assert!(matches!(walk(&joint), Walk::HandOver(_)), "an outgoing leader does not leave the joint membership");
    }

    #[test]
    fn the_only_voter_first_makes_another_one_and_then_hands_over() {
        assert_eq!(walk(&view(1, &[1], &[2], &[2])), Walk::Change { promote: vec![2], remove: vec![] });
        assert_eq!(walk(&view(1, &[1, 2], &[], &[2])), Walk::HandOver(2));
        assert_eq!(walk(&view(2, &[1, 2], &[], &[2])), Walk::Change { promote: vec![], remove: vec![1] });
    }

    #[test]
    fn voters_are_not_taken_out_when_the_rest_would_have_no_healthy_quorum() {
        let view = behind(behind(view(1, &[1, 2, 3, 4], &[], &[1, 2, 3]), 2), 3);
        assert_eq!(walk(&view), Walk::Wait);
    }

    #[test]
    fn a_learner_of_an_older_target_is_taken_out_first() {
        assert_eq!(walk(&view(1, &[1, 2, 3], &[9], &[1, 2, 3])), Walk::RemoveLearner(9));
    }

    #[test]
    fn replicas_are_added_in_order_of_their_ids_and_none_that_was_put_out() {
        let lowest = Walk::AddLearner(Member { replica: 4, node: 40 });
        assert_eq!(walk(&view(1, &[1, 2, 3], &[], &[1, 5, 4])), lowest);
        let gone = WalkView { highest: 4, ..view(1, &[1, 2, 3], &[], &[1, 2, 4]) };
        assert_eq!(walk(&gone), Walk::Wait);
    }

    #[test]
    fn a_group_without_target_only_leaves_a_joint_membership() {
        assert_eq!(walk(&view(1, &[1, 2, 3], &[], &[])), Walk::Settled);
    }

    /// What the leaders of a group do, one after the other, until the first that changes it or is there for 20 turns.
    /// Leaders shall leave the nodes of `sent_away`, for a voter that may stay where there is one.
    fn lead(first: u64, sent_away: &[u64], group: impl Fn(u64) -> WalkView) -> Vec<(u64, Walk)> {
        let (mut own, mut pauses, mut done) = (first, BTreeMap::<u64, Pauses>::new(), Vec::new());
        for tick in (0..80).step_by(4) {
            let view = group(own);
            let votes = |id: u64| view.voters.contains(&id);
            let heir = view.best(|id| votes(id) && !sent_away.contains(&id)).or_else(|| view.best(votes));
            let next = walk(&view);
            let handing = pauses.entry(own).or_default();
            let heir = heir.filter(|_| sent_away.contains(&own) && leaves(&next, true, tick, handing));
            let step = heir.map_or(next, Walk::HandOver);
            done.push((own, step.clone()));
            match step {
                Walk::HandOver(to) => own = to,
                Walk::Wait | Walk::Settled => {}
                _ => break,
            }
        }
        done
    }

    #[test]
    fn the_only_voter_of_the_target_ends_the_change_although_leaders_shall_leave_its_node() {
        let done = lead(2, &[5], |own| view(own, &[2, 5], &[], &[5]));
        let last = Walk::Change { promote: vec![], remove: vec![2] };
        assert_eq!(done, [(2, Walk::HandOver(5)), (5, Walk::HandOver(2)), (2, Walk::HandOver(5)), (5, last)]);
    }

    #[test]
    fn a_leader_that_shall_go_and_one_on_a_node_that_shall_be_left_do_not_send_each_other_the_group_for_ever() {
        let done = lead(2, &[1], |own| view(own, &[1, 2, 3], &[4], &[1, 3, 4]));
        let last = Walk::Change { promote: vec![4], remove: vec![2] };
        assert_eq!(done, [(2, Walk::HandOver(1)), (1, Walk::HandOver(2)), (2, Walk::HandOver(1)), (1, last)]);
    }

    #[test]
    fn two_nodes_that_leaders_shall_leave_go_on_with_the_change_while_the_third_voter_is_away() {
        let done = lead(1, &[1, 2], |own| behind(view(own, &[1, 2, 3], &[], &[2, 3, 4]), 3));
        let last = Walk::AddLearner(Member { replica: 4, node: 40 });
        assert_eq!(done, [(1, Walk::HandOver(2)), (2, Walk::HandOver(1)), (1, last)]);
    }

    #[test]
    fn a_group_that_is_as_it_shall_be_is_left_at_once_each_time_and_within_a_change_after_pauses() {
        let left = |next: Walk, must| {
            let mut handing = Pauses::default();
            (0..400).filter(|tick| leaves(&next, must, *tick, &mut handing)).collect::<Vec<u64>>()
        };
        assert_eq!(left(Walk::Settled, true), (0..400).collect::<Vec<u64>>());
        assert_eq!(left(Walk::Settled, false), [0, 40, 120, 280], "a slow disk alone");
        assert_eq!(left(Walk::Wait, true), [0, 40, 120, 280]);
    }
}
