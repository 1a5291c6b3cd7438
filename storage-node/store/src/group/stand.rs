//! Watches over the group's own progress, and who shall rather not lead.

use raft::INVALID_ID;

use super::{Group, Leave};
use crate::{
    config::Config,
    rng::Rng,
    standstill::{At, Remedy, Stands},
};

impl Group {
    /// A replica whose leaders shall leave does not try to be one while others may: it campaigns too, but later. For how
    /// long followers refuse votes is not touched by that.
    pub(super) fn hold_back(&mut self, config: &Config, rng: &mut Rng, leave: Leave<'_>) {
        let reluctant = leave.must || leave.slow.contains(&self.own_node) || self.ticks < self.gave_up_until;
        if reluctant != self.reluctant {
            self.reluctant = reluctant;
            self.draw_timeout(config, rng);
        }
    }

    pub(super) fn watch(&mut self, config: &Config, rng: &mut Rng) {
        let log = &self.node.raft.raft_log;
        let at = At {
            tick: self.ticks,
            leads: self.leads(),
            last: log.last_index(),
            committed: log.committed,
            applied: log.applied,
            excused: self.installing.is_some() || self.data_lost || self.destroying,
        };
        let (stands, remedy) = self.standstill.look(&config.standstill, at);
        if stands != self.stands {
            let (shard, committed) = (self.shard.0, at.committed);
            match stands {
                Stands::No => tracing::info!(shard, committed, "the group goes on"),
                Stands::Commit => {
                    let waiting = at.last - at.committed;
                    tracing::warn!(shard, committed, waiting, "a quorum is heard, and nothing that waits is committed");
                }
                Stands::Apply => {
                    let applied = at.applied;
                    tracing::warn!(shard, committed, applied, "nothing of what is committed is applied here");
                }
            }
            self.stands = stands;
        }
        if remedy == Remedy::GiveUp {
            self.give_up(config, rng, at.last);
        }
    }

    /// Another leader may do what this one cannot: one that has all of the log is asked to take over. Without one this
    /// replica steps down, which needs nobody, and lets others campaign first.
    fn give_up(&mut self, config: &Config, rng: &mut Rng, last: u64) {
        let progress = self.node.raft.prs().iter();
        let has_all = |id: &u64| *id != self.replica.0 && self.voters[0].contains(id);
        let heir = progress.filter(|(id, of)| has_all(id) && of.recent_active && of.matched >= last);
        let shard = self.shard.0;
        if let Some(heir) = heir.map(|(id, _)| *id).min() {
            tracing::warn!(shard, heir, "this leader commits nothing: it hands over");
            self.hand_over(heir);
            return;
        }
        tracing::warn!(shard, "this leader commits nothing, and nobody has all of its log: it steps down");
        let raft = &mut self.node.raft;
        raft.become_follower(raft.term, INVALID_ID);
        self.gave_up_until = self.ticks + 2 * config.max_election_ticks as u64;
        self.reluctant = true;
        self.look(config, rng);
    }
}
