//! Who is out: notices between replicas of one shard, since Raft does not tell one that it was removed, and what the
//! map alone may decide.
//!
//! A replica that is told goes for good. So it is told only what a power cut cannot take back from who tells it: applied
//! state is synced late, and those that stay could come back with the membership before, which needs its vote.

use granary_common::NodeId;
use granary_proto::{
    map::{self, ReplicaRole},
    raft as wire,
};

use super::{Actions, Group};

/// Ticks between two questions of a replica that hears nothing from its group, and ten times those between two notices
/// to one that is out.
const NOTICE_TICKS: u64 = 100;
/// Ticks for which the map must not want a learner without state before it goes.
const UNWANTED_TICKS: u64 = 400;

impl Group {
    /// Counted from the leader's last message, not from when there was none any more: a learner that was taken out goes
    /// on to believe in its old leader.
    pub(super) fn ask_when_unheard(&mut self, now_ns: u64, out: &mut Actions) {
        let every = if self.knows_it_is_out() { NOTICE_TICKS / 10 } else { NOTICE_TICKS };
        if self.ticks >= self.heard_tick + every {
            self.heard_tick = self.ticks;
            self.ask_whether_out(now_ns, out);
        }
    }

    /// Tells a replica that is not in this group who is.
    pub(super) fn tell_group(&mut self, (to, to_node): (u64, NodeId), now_ns: u64, out: &mut Actions) {
        if !self.group_is_durable() || self.last_notice_tick.is_some_and(|last| self.ticks < last + NOTICE_TICKS / 10) {
            return;
        }
        self.last_notice_tick = Some(self.ticks);
        self.send_notice((to, to_node), false, now_ns, out);
    }

    fn send_notice(&self, (to, to_node): (u64, NodeId), question: bool, now_ns: u64, out: &mut Actions) {
        let notice = wire::GroupNotice { group: Some(self.group.clone()), question };
        let message = wire::RaftMessage {
            body: Some(wire::raft_message::Body::Notice(notice)),
            commit_index: self.node.raft.raft_log.applied,
            ..self.envelope(to, now_ns)
        };
        out.sends.push(crate::Send { to: to_node, lane: crate::Lane::Appends, message });
    }

    /// A replica that hears nothing asks everyone who may know whether it is out: Raft does not tell a removed one.
    fn ask_whether_out(&self, now_ns: u64, out: &mut Actions) {
        if self.group.version == 0 && !self.data_lost {
            return;
        }
        let told = self.told_out.values().flat_map(|group| &group.replicas);
        let known = [&self.group, &self.map_group].into_iter().flat_map(|group| &group.replicas);
        let everyone = known.chain(&self.target.replicas).chain(told);
        let nodes: std::collections::BTreeSet<u64> =
            everyone.map(|replica| replica.node_id).filter(|node| *node != self.own_node.0).collect();
        for node in nodes {
            self.send_notice((0, NodeId(node)), true, now_ns, out);
        }
    }

    pub(super) fn notice(
        &mut self,
        now_ns: u64,
        (from, from_node): (u64, NodeId),
        (to, applied): (u64, u64),
        notice: &wire::GroupNotice,
        out: &mut Actions,
    ) {
        let Some(theirs) = &notice.group else { return };
        if notice.question {
            if self.group.version >= theirs.version && !named(&self.group, from) && self.group_is_durable() {
                self.send_notice((from, from_node), false, now_ns, out);
            }
        } else if to == self.replica.0 && self.is_news_of_being_out(theirs, applied) {
            let first = self.told_out.is_empty();
            self.told_out.insert(from, theirs.clone());
            if self.is_out_for_good(theirs) {
                self.destroy(out);
            } else if first {
                self.ask_whether_out(now_ns, out);
            }
        }
    }

    /// A group that is not older than what this replica knows, without it: it is out, since ids are never used twice.
    /// One that has lost its group knows that it was in it at the start of its log.
    fn is_news_of_being_out(&self, theirs: &map::Group, applied: u64) -> bool {
        !named(theirs, self.replica.0)
            && match self.group.version {
                0 => self.data_lost && applied >= self.node.store().truncated().index.max(1),
                version => theirs.version >= version,
            }
    }

    /// Until most of the voters know that they do without this replica, its vote may be needed to elect one of them:
    /// who still is in the joint membership needs a quorum of the old voters too.
    fn is_out_for_good(&self, theirs: &map::Group) -> bool {
        let voters = || theirs.replicas.iter().filter(|replica| replica.role() == ReplicaRole::Voter);
        let know = voters().filter(|voter| self.told_out.contains_key(&voter.id)).count();
        !theirs.joint && know > voters().count() / 2
    }

    fn knows_it_is_out(&self) -> bool {
        !self.told_out.is_empty() || (self.group.version > 0 && !named(&self.group, self.replica.0))
    }

    /// Whether the group as it is now would be found again behind a power cut.
    fn group_is_durable(&self) -> bool {
        self.durable >= self.group_index
    }

    /// Notes who is out by the change that has just been handed out.
    pub(super) fn note_removed(&mut self, before: &map::Group) {
        let gone = before.replicas.iter().filter(|replica| !named(&self.group, replica.id));
        self.removed.extend(gone.map(|replica| (replica.id, NodeId(replica.node_id))));
    }

    /// Raft does not tell a replica that it was taken out: its leader does, once; a lost word is asked for later.
    pub(super) fn tell_removed(&mut self, now_ns: u64, out: &mut Actions) {
        if self.removed.is_empty() || !self.group_is_durable() {
            return;
        }
        for to in std::mem::take(&mut self.removed) {
            if self.leads() {
                self.send_notice(to, false, now_ns, out);
            }
        }
    }

    fn destroy(&mut self, out: &mut Actions) {
        if !std::mem::replace(&mut self.destroying, true) {
            out.destroys.push((self.shard, self.replica));
        }
    }

    /// What the map says: only a newer target counts.
    pub(crate) fn target(&mut self, shard: map::Shard) {
        if let Some(group) = shard.group {
            self.map_group = group;
        }
        let Some(target) = shard.target.filter(|target| target.number > self.target.number) else { return };
        self.target = target;
        self.settled_at = None;
        if self.leads() {
            self.wake();
        }
    }

    /// A learner without state has promised nothing to anyone: the map alone may end it. At once, where the map has heard that
    /// the group had it and put it out; else not soon: its leader may be about to tell the map that it has added it, and
    /// the map would go on to name an id that is spent here.
    pub(super) fn give_up_unwanted(&mut self, out: &mut Actions) {
        let of_target = self.target.replicas.iter().any(|replica| replica.id == self.replica.0);
        let of_group = named(&self.map_group, self.replica.0);
        let is_out = !of_group && self.replica.0 <= self.map_group.highest_replica_id;
        let is_wanted = self.target.number == 0 || of_target || of_group;
        if self.group.version > 0 || self.data_lost {
            self.wanted_tick = self.ticks;
        } else if is_out || (!is_wanted && self.ticks >= self.wanted_tick + UNWANTED_TICKS) {
            self.destroy(out);
        } else if is_wanted {
            self.wanted_tick = self.ticks;
        }
    }
}

fn named(group: &map::Group, id: u64) -> bool {
    group.replicas.iter().any(|replica| replica.id == id)
}
