//! Groups at rest. One of which nothing was asked for a while, and whose replicas all have all of its log, quiesces: it
//! ticks only once in so many ticks of its store, and its leader beats as much less often. Whatever happens to it wakes it:
//! a request, a message that is no heartbeat, a broken connection, a beat that is not answered or does not come. Source:
//! quiesced ranges of CockroachDB, hibernated regions of TiKV.
//!
//! No lease depends on it. A leader counts its lease by the clock, so that it lapses between two slow beats, and reads ask a
//! quorum then; a follower at rest ticks slower, hence refuses other candidates for longer than it must, and begins its
//! election timeout anew when it wakes.

use std::collections::BTreeSet;

use granary_common::NodeId;
use granary_proto::raft as wire;
use raft::StateRole;

use super::{Actions, Group, Leave};
use crate::{config::Config, standstill::Stands};

/// Silence of a leader that wakes a follower at rest, in times between two slow beats: one did not come, and the next is due.
const SILENT_BEATS: u64 = 2;
/// Reads without a lease between two slow beats behind which the group wakes, so that there is a lease for more.
const MAX_READS: u32 = 16;

/// Which groups send their heartbeats at a tick. They do it together, so that they go in the same frames: at rest, what a frame
/// costs is most of what a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Beat {
    /// None.
    #[default]
    No,
    /// Those that do not rest.
    Fast,
    /// All.
    Slow,
}

impl Beat {
    /// At this tick of the store.
    pub(crate) fn at(tick: u64, config: &Config) -> Self {
        let fast = config.heartbeat_ticks as u64;
        if tick.is_multiple_of(fast * config.quiesced_pace) {
            Self::Slow
        } else if tick.is_multiple_of(fast) {
            Self::Fast
        } else {
            Self::No
        }
    }
}

/// Whether a group rests, and what stands between it and that.
#[derive(Debug, Default)]
pub(super) struct Quiesce {
    /// It does.
    quiesced: bool,
    /// Tick of the last thing to do.
    stirred: u64,
    /// As follower: until this tick it does not rest, as somebody asked for the leader. A beat that was on its way then is no
    /// answer.
    alert_until: u64,
    /// As leader: its beats say that the group may rest.
    offers: bool,
    /// As leader: who has answered that it rests since the last beat.
    at_rest: BTreeSet<u64>,
    /// As leader at rest: reads since the last beat.
    reads: u32,
}

impl Group {
    pub(crate) fn is_quiesced(&self) -> bool {
        self.quiesce.quiesced
    }

    /// What goes with each message: see `RaftMessage.quiesced`.
    pub(super) fn says_quiesced(&self) -> bool {
        self.quiesce.quiesced || (self.leads() && self.quiesce.offers)
    }

    /// There is something to do. A leader says so to all at once.
    pub(crate) fn wake(&mut self) {
        let alert_until = self.quiesce.alert_until;
        let was = std::mem::take(&mut self.quiesce).quiesced;
        (self.quiesce.stirred, self.quiesce.alert_until) = (self.ticks, alert_until);
        if was {
            self.node.raft.election_elapsed = 0;
            self.node.ping();
        }
    }

    /// Somebody asks for the leader, or it is not heard: all others wake too, so that they elect another one where it is gone.
    pub(crate) fn rouse(&mut self, config: &Config, now_ns: u64, out: &mut Actions) {
        if !self.is_quiesced() || self.leads() {
            return self.wake();
        }
        self.alert(config);
        for replica in self.group.replicas.iter().filter(|replica| replica.id != self.replica.0) {
            let body = Some(wire::raft_message::Body::Wake(wire::Wake {}));
            let message = wire::RaftMessage { body, ..self.envelope(replica.id, now_ns) };
            out.sends.push(crate::Send { to: NodeId(replica.node_id), lane: crate::Lane::Heartbeats, message });
        }
    }

    /// A follower wakes, until its leader says that it has done so too.
    pub(super) fn alert(&mut self, config: &Config) {
        self.wake();
        self.quiesce.alert_until = self.ticks + 2 * config.max_election_ticks as u64;
    }

    /// The connection to the node broke.
    pub(super) fn wake_for(&mut self, config: &Config, node: NodeId) {
        if self.is_quiesced() && self.group.replicas.iter().any(|replica| replica.node_id == node.0) {
            self.alert(config);
        }
    }

    /// There is something to do, if it does not rest.
    pub(crate) fn lease_used(&mut self) {
        if self.leads() && !self.is_quiesced() {
            self.wake();
        }
    }

    /// A read without a lease. A few are answered at rest: each asks a quorum anyway.
    pub(super) fn reads_at_rest(&mut self) {
        self.quiesce.reads += 1;
        if !self.is_quiesced() || self.quiesce.reads > MAX_READS {
            self.wake();
        }
    }

    /// A heartbeat of the leader was taken in, which says whether the group rests.
    pub(super) fn heard_beat(&mut self, rests: bool) {
        if !rests {
            self.quiesce.alert_until = 0;
            self.wake();
        } else if !self.is_quiesced() && self.ticks >= self.quiesce.alert_until && self.has_nothing_to_do() {
            self.quiesce.quiesced = true;
        }
    }

    /// A beat was answered, by somebody who rests or not.
    pub(super) fn heard_answer(&mut self, from: u64, rests: bool) {
        if rests {
            self.quiesce.at_rest.insert(from);
        } else if self.is_quiesced() {
            self.wake();
        }
    }

    /// At each tick, before Raft's own. A leader looks before it beats, so that the beat says what was found.
    pub(super) fn look_at_rest(&mut self, config: &Config, now_ns: u64, leave: Leave<'_>, out: &mut Actions) {
        if !self.leads() {
            let silent = self.ticks - self.heard_tick;
            if self.is_quiesced() && silent >= SILENT_BEATS * config.heartbeat_ticks as u64 {
                self.rouse(config, now_ns, out);
            }
            return;
        }
        if !self.beats() && !self.is_quiesced() {
            return;
        }
        let all = self.all_answered();
        let may = all && self.may_rest(config, leave);
        if self.is_quiesced() && !may {
            self.wake();
        }
        if !self.beats() {
            return;
        }
        self.quiesce.at_rest.clear();
        self.quiesce.reads = 0;
        self.quiesce.offers = may || self.may_rest(config, leave);
        if !may {
            return;
        }
        self.quiesce.quiesced = true;
        // Raft counts its own ticks from the beat at which it began to rest, which is none of the slow ones.
        let beats_itself = self.node.raft.heartbeat_elapsed() + 1 >= config.heartbeat_ticks;
        if self.beat == Beat::Slow && !beats_itself {
            self.node.ping();
        }
    }

    /// As leader: whether all others have answered the last beat that they rest. Who has not, and rested before, counts as gone.
    fn all_answered(&mut self) -> bool {
        let (own, rested) = (self.replica.0, self.is_quiesced());
        let mut all = true;
        for (id, of) in self.node.raft.mut_prs().iter_mut() {
            if *id != own && !self.quiesce.at_rest.contains(id) {
                of.recent_active &= !rested;
                all = false;
            }
        }
        all
    }

    fn may_rest(&self, config: &Config, leave: Leave<'_>) -> bool {
        let raft = &self.node.raft;
        let is_long_ago = config.quiesce_after > 0 && self.ticks >= self.quiesce.stirred + config.quiesce_after;
        let leaves = leave.must || self.reluctant || self.lease.is_handed_over() || raft.lead_transferee.is_some();
        let settled = self.settled_at == Some((self.target.number, self.group.version));
        let asked = self.reads_new.len() + self.reads_asked.len() + self.reads_waiting.len() + self.gathered.len();
        let all_have_all = || {
            let last = raft.raft_log.last_index();
            raft.prs().iter().all(|(id, of)| {
                let heard = *id == self.replica.0 || of.recent_active || self.is_quiesced();
                heard && of.matched == last && of.pending_request_snapshot == raft::INVALID_INDEX
            })
        };
        is_long_ago
            && !leaves
            && settled
            && (asked == 0 || (self.is_quiesced() && !self.reads_wait()))
            && self.removed.is_empty()
            && self.fetches.is_empty()
            && !raft.has_pending_conf()
            && self.has_nothing_to_do()
            && all_have_all()
    }

    /// Whether a read has waited for its quorum since before the last tick.
    fn reads_wait(&self) -> bool {
        self.reads_asked.front().is_some_and(|asked| asked.at_tick + 1 < self.ticks)
    }

    /// Of a leader and of a follower.
    fn has_nothing_to_do(&self) -> bool {
        let log = &self.node.raft.raft_log;
        let is_whole = self.installing.is_none() && !self.destroying && !self.data_lost && self.group.version > 0;
        let knows_leader =
            self.leads() || (self.node.raft.state == StateRole::Follower && self.leader_node().is_some());
        is_whole
            && knows_leader
            && self.told_out.is_empty()
            && self.unpersisted.is_empty()
            && self.offered_snapshot.is_none()
            && !self.making_snapshot
            && self.stands == Stands::No
            && log.last_index() == log.committed
            && log.committed == log.applied
    }
}
