//! What readers and routers are told of a group, and when it is worth telling.

use granary_common::NodeId;
use raft::StateRole;

use super::{Actions, Group};
use crate::{
    action::{Published, Role},
    config::Config,
    standstill::Stands,
};

/// A lease (or a freshness) that grew by less is not published again.
const WORTH_NS: u64 = 10_000_000;

/// The last publication, in small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Face {
    term: u64,
    role: Role,
    leader: Option<NodeId>,
    lease_until_ns: u64,
    fresh_ns: u64,
    version: u64,
    caught_up: bool,
    quiesced: bool,
    stands: Stands,
}

impl Face {
    /// Whether it leads in this term and may serve reads now.
    pub(super) fn holds_lease(&self, term: u64, now_ns: u64) -> bool {
        self.role == Role::Leader && self.term == term && now_ns < self.lease_until_ns
    }
}

impl Group {
    /// Publishes if something changed that matters.
    pub(crate) fn publish(&mut self, config: &Config, now_ns: u64, out: &mut Actions) {
        let face = self.face(config, now_ns);
        if self.published.is_some_and(|before| !worth_telling(&before, &face)) {
            return;
        }
        self.published = Some(face);
        out.publish.push(Published {
            shard: self.shard,
            replica: self.replica,
            term: face.term,
            role: face.role,
            leader: face.leader,
            lease_until_ns: face.lease_until_ns,
            fresh_ns: face.fresh_ns,
            group: self.group.clone(),
            gone: false,
            caught_up: face.caught_up,
            quiesced: face.quiesced,
            stands: face.stands,
        });
    }

    fn face(&self, config: &Config, now_ns: u64) -> Face {
        let raft = &self.node.raft;
        let role = match raft.state {
            StateRole::Leader => Role::Leader,
            _ if raft.prs().conf().voters().contains(self.replica.0) => Role::Follower,
            _ => Role::Learner,
        };
        // Only a leader that has applied the first entry of its own term knows everything that was committed before.
        let ready = role == Role::Leader && raft.apply_to_current_term();
        let lease_until_ns = if ready {
            let [voters, outgoing] = &self.voters;
            self.lease
                .quorum_clock(self.replica.0, now_ns, [voters, outgoing])
                .map_or(0, |clock| clock + config.lease_ns())
        } else {
            0
        };
        // While a snapshot comes in, or the replica goes, its rows are not there.
        let is_whole = self.installing.is_none() && !self.destroying && !self.data_lost;
        let fresh_ns = if is_whole { self.lease.fresh_ns() } else { 0 };
        let caught_up = match role {
            Role::Leader => ready,
            Role::Follower | Role::Learner => raft.leader_id != 0 && self.group.version > 0 && fresh_ns > 0,
        };
        Face {
            term: raft.term,
            role,
            leader: self.leader_node(),
            lease_until_ns,
            fresh_ns,
            version: self.group.version,
            caught_up,
            quiesced: self.is_quiesced(),
            stands: self.stands,
        }
    }
}

fn worth_telling(before: &Face, now: &Face) -> bool {
    let times_apart = Face { lease_until_ns: before.lease_until_ns, fresh_ns: before.fresh_ns, ..*now };
    times_apart != *before
        || now.lease_until_ns < before.lease_until_ns
        || now.lease_until_ns > before.lease_until_ns + WORTH_NS
        || now.fresh_ns < before.fresh_ns
        || now.fresh_ns > before.fresh_ns + WORTH_NS
}
