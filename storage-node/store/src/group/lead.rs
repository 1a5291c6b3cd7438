//! What only a leader does: walk to the target, hand over, purge, report.

use std::collections::BTreeSet;

use granary_common::NodeId;
use granary_proto::{
    map::{self, ReplicaRole},
    raft as wire,
    storage::MembershipStep,
};
use raft::ProgressState;

use super::{Actions, Group, Leave, membership};
use crate::{
    action::PersistItem,
    config::Config,
    retain::{Bounds, purge_to},
    walk::{Member, Progress, Walk, WalkView, leaves, walk},
};

/// A replica at most this many entries behind the leader's last index counts as caught up.
const CAUGHT_UP_ENTRIES: u64 = 1_000;
/// Ticks for which a made snapshot is offered to further followers, and holds the purge.
const SNAPSHOT_TICKS: u64 = 400;
/// Ticks that an heir has before leadership is handed to another one: its votes are behind two syncs, one behind the other,
/// which take long where disks are slow.
const HEIRS_TICKS: u64 = 64;

impl Group {
    fn progress(&self, id: u64) -> Progress {
        let last = self.last_position().index;
        let Some(progress) = self.node.raft.prs().get(id) else { return Progress::default() };
        let own = id == self.replica.0;
        // At rest it would be woken by who does not answer.
        let active = own || progress.recent_active || self.is_quiesced();
        let caught_up = match progress.state {
            ProgressState::Replicate => progress.matched + CAUGHT_UP_ENTRIES >= last,
            // After a lost connection raft probes, and goes on to do so until there is something new to send: in a group
            // without writes, forever. Who has everything and asks for no snapshot lacks nothing.
            ProgressState::Probe => progress.matched >= last && progress.pending_request_snapshot == 0,
            ProgressState::Snapshot => false,
        };
        Progress { active, caught_up: active && (own || caught_up), matched: progress.matched }
    }

    fn walk_view(&self) -> WalkView {
        let conf = self.node.raft.prs().conf().to_conf_state();
        let replicas = self.node.raft.prs().iter().map(|(id, _)| (*id, self.progress(*id)));
        let mut progress: Vec<(u64, Progress)> = replicas.collect();
        progress.sort_unstable_by_key(|(id, _)| *id);
        WalkView {
            own: self.replica.0,
            voters: conf.get_voters().to_vec(),
            outgoing: conf.get_voters_outgoing().to_vec(),
            learners: conf.get_learners().to_vec(),
            progress,
            highest: self.group.highest_replica_id,
            target: self
                .target
                .replicas
                .iter()
                .map(|replica| Member { replica: replica.id, node: replica.node_id })
                .collect(),
        }
    }

    /// Takes the next step to the target, or hands over while leaders shall be away from this node.
    pub(super) fn walk(&mut self, leave: Leave<'_>) {
        let raft = &self.node.raft;
        let is_slow = leave.slow.contains(&self.own_node);
        let busy = !raft.apply_to_current_term() || raft.has_pending_conf();
        // Where nothing is applied, waiting for that would be for good.
        if raft.lead_transferee.is_some() || (busy && !is_slow) {
            return;
        }
        let settled = self.settled_at == Some((self.target.number, self.group.version));
        // Nobody took what was handed over. No lease holds for the rest of the term, as the one it was meant for may still
        // hear of it; so the term is ended by handing over again, to whoever is heard now. Not before the first one has had
        // its time: two heirs would take each other's votes.
        let again = self.lease.is_handed_over();
        let waits = again && self.ticks < self.handed_over_at + HEIRS_TICKS;
        let must = leave.must || again;
        let away = must || is_slow;
        if settled && !away {
            return;
        }
        let view = self.walk_view();
        let next = if settled { Walk::Settled } else { walk(&view) };
        if away
            && !waits
            && let Some(to) = self.heir(&view, must, leave.slow)
            && (again || leaves(&next, must, self.ticks, &mut self.handing))
        {
            self.hand_over(to);
            return;
        }
        if settled || busy {
            return;
        }
        match next {
            Walk::Settled => self.settled_at = Some((self.target.number, self.group.version)),
            Walk::Wait => {}
            Walk::AddLearner(member) => self.change(vec![MembershipStep {
                replica_id: member.replica,
                node_id: member.node,
                role: ReplicaRole::Learner.into(),
            }]),
            Walk::RemoveLearner(id) => self.change(vec![step(id, ReplicaRole::Outgoing)]),
            Walk::Change { promote, remove } => {
                let promote = promote.into_iter().map(|id| step(id, ReplicaRole::Voter));
                let remove = remove.into_iter().map(|id| step(id, ReplicaRole::Outgoing));
                self.change(promote.chain(remove).collect());
            }
            Walk::LeaveJoint => self.change(Vec::new()),
            Walk::HandOver(to) => self.hand_over(to),
        }
    }

    /// Who takes over: a voter whose disk is not slow, where there is one. Else nobody, unless this one must leave: of
    /// nodes that are all slow none is better, and they would hand the same leaders round and round.
    fn heir(&self, view: &WalkView, must: bool, slow: &BTreeSet<NodeId>) -> Option<u64> {
        let is_slow = |id| self.node_of(id).is_some_and(|node| slow.contains(&node));
        let quick = view.best(|id| view.voters.contains(&id) && !is_slow(id));
        quick.or_else(|| must.then(|| view.best(|id| view.voters.contains(&id))).flatten())
    }

    /// Asks a voter to take over.
    pub(super) fn hand_over(&mut self, to: u64) {
        self.handed_over_at = self.ticks;
        self.node.transfer_leader(to);
    }

    fn change(&mut self, steps: Vec<MembershipStep>) {
        let (context, change) = membership::proposal(steps);
        let pending = self.node.raft.pending_conf_index;
        if self.node.propose_conf_change(context, change).is_err() {
            // Dropped (no room, transfer under way): the next tick asks again. Raft takes it for pending all the same, until
            // something else is written: in a shard without writes, forever.
            self.node.raft.pending_conf_index = pending;
        }
    }

    pub(crate) fn transfer(&mut self, to: NodeId) {
        self.wake();
        if !self.leads() {
            return;
        }
        let there = |replica: &&map::Replica| replica.node_id == to.0 && replica.role() == ReplicaRole::Voter;
        if let Some(replica) = self.group.replicas.iter().find(there).map(|replica| replica.id) {
            self.hand_over(replica);
        }
    }

    /// Purges the log below what is durable and needed by nobody.
    pub(crate) fn purge(&mut self, config: &Config) -> Option<PersistItem> {
        if self.destroying || self.installing.is_some() || !std::mem::take(&mut self.purge_due) {
            return None;
        }
        let truncated = self.node.store().truncated().index;
        let snapshot = self.offered_snapshot.map(|(_, index, _)| index + 1);
        let bounds = Bounds {
            truncated,
            durable: self.durable.min(self.node.raft.raft_log.applied),
            last: self.node.store().last(),
            needed: self.slowest_follower().into_iter().chain(snapshot).min(),
        };
        let index = purge_to(&bounds, &self.sizes, &config.retention)?;
        let position = self.node.mut_store().truncate(index)?;
        self.sizes.truncated(index);
        Some(PersistItem {
            shard: self.shard,
            replica: self.replica,
            hard_state: None,
            append: None,
            truncate: Some(position),
        })
    }

    fn slowest_follower(&self) -> Option<u64> {
        if !self.leads() {
            return None;
        }
        let followers = self.node.raft.prs().iter().filter(|(id, progress)| {
            **id != self.replica.0 && progress.recent_active && progress.state != ProgressState::Snapshot
        });
        followers.map(|(_, progress)| progress.matched + 1).min()
    }

    /// A snapshot is offered for a while, and as long as it is on its way to somebody.
    pub(super) fn expire_snapshot(&mut self, out: &mut Actions) {
        let Some((_, _, made_at)) = self.offered_snapshot else { return };
        let on_its_way =
            self.leads() && self.node.raft.prs().iter().any(|(_, progress)| progress.state == ProgressState::Snapshot);
        let limit = if on_its_way { SNAPSHOT_TICKS * 60 } else { SNAPSHOT_TICKS };
        if self.ticks > made_at + limit {
            self.withdraw_snapshot(out);
        }
    }

    pub(crate) fn report(&self, out: &mut Actions) {
        out.held.push(wire::HeldReplica {
            shard_id: self.shard.0,
            replica_id: self.replica.0,
            applied_index: self.node.raft.raft_log.applied,
        });
        if !self.leads() || !self.node.raft.apply_to_current_term() {
            return;
        }
        let mut progress: Vec<wire::ReplicaProgress> = self
            .node
            .raft
            .prs()
            .iter()
            .map(|(id, of)| {
                let seen = self.progress(*id);
                wire::ReplicaProgress {
                    replica_id: *id,
                    matched: of.matched,
                    active: seen.active,
                    snapshot: of.state == ProgressState::Snapshot,
                    caught_up: seen.caught_up,
                }
            })
            .collect();
        progress.sort_unstable_by_key(|progress| progress.replica_id);
        out.led.push(wire::LedShard {
            shard_id: self.shard.0,
            term: self.node.raft.term,
            group: Some(self.group.clone()),
            progress,
            commit_index: self.node.raft.raft_log.committed,
            bytes: 0,
            last_index: self.last_position().index,
        });
    }
}

fn step(replica_id: u64, role: ReplicaRole) -> MembershipStep {
    MembershipStep { replica_id, node_id: 0, role: role.into() }
}
