//! When a group stands still, and what its leader does about that. Pure; counted in ticks, which a paused process does not
//! have.
//!
//! A leader that is heard by a quorum and commits nothing of what waits is worth a word after a while. A hung disk of its
//! followers can be why: then another leader would commit nothing either, and this one still answers reads. Such a follower
//! ends by itself (the node's watchdog). So the leader gives up only after longer than that takes: it hands over to a voter
//! that has all of its log, or steps down where there is none, and does so again only after pauses that double.

use crate::pauses::Pauses;

/// How long each step waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandstillTicks {
    /// Ticks after which a group is reported.
    pub report: u64,
    /// Ticks after which a leader that commits nothing gives up; more than a hung disk of a follower lives.
    pub give_up: u64,
}

/// The longest pause between two times that a leader gives up, as a multiple of the first.
const MAX_PAUSE: u64 = 16;

/// Whether a group goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stands {
    /// It does, or has nothing to do.
    #[default]
    No,
    /// Entries wait and nothing is committed, although a quorum is heard.
    Commit,
    /// Entries are committed and nothing is applied here.
    Apply,
}

/// What the leader does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing.
    None,
    /// Hand over to a voter that has all of the log, or step down where there is none.
    GiveUp,
}

/// The group at a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// The tick.
    pub tick: u64,
    /// It leads. With Raft's check of the quorum, a leader of some time is one that a quorum answers.
    pub leads: bool,
    /// The last index of the log.
    pub last: u64,
    /// The commit index.
    pub committed: u64,
    /// The applied index.
    pub applied: u64,
    /// It installs a snapshot, waits for one, or goes: nothing is to be applied.
    pub excused: bool,
}

/// Remembers one group.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standstill {
    committed: u64,
    commit_moved: u64,
    applied: u64,
    apply_moved: u64,
    gives_up: Pauses,
}

impl Standstill {
    /// Takes a look.
    pub fn look(&mut self, ticks: &StandstillTicks, at: At) -> (Stands, Remedy) {
        if !at.leads || at.last <= at.committed || at.committed != self.committed {
            (self.committed, self.commit_moved) = (at.committed, at.tick);
        }
        if at.excused || at.committed <= at.applied || at.applied != self.applied {
            (self.applied, self.apply_moved) = (at.applied, at.tick);
        }
        let stood = at.tick - self.commit_moved;
        let stands = if stood >= ticks.report {
            Stands::Commit
        } else if at.tick - self.apply_moved >= ticks.report {
            Stands::Apply
        } else {
            Stands::No
        };
        let gives_up = stood >= ticks.give_up && self.gives_up.may(at.tick, ticks.give_up, ticks.give_up * MAX_PAUSE);
        (stands, if gives_up { Remedy::GiveUp } else { Remedy::None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKS: StandstillTicks = StandstillTicks { report: 10, give_up: 60 };

    /// Ticks at which a leader of entries that nobody commits gives up, and the first at which it is reported.
    fn run(ticks: u64, at: impl Fn(u64) -> At) -> (Option<(u64, Stands)>, Vec<u64>) {
        let (mut group, mut reported, mut gave_up) = (Standstill::default(), None, Vec::new());
        for tick in 1..=ticks {
            let (stands, remedy) = group.look(&TICKS, At { tick, ..at(tick) });
            if stands != Stands::No && reported.is_none() {
                reported = Some((tick, stands));
            }
            if remedy == Remedy::GiveUp {
                gave_up.push(tick);
            }
        }
        (reported, gave_up)
    }

    fn leader(last: u64, committed: u64, applied: u64) -> At {
        At { leads: true, last, committed, applied, ..At::default() }
    }

    #[test]
    fn a_leader_that_commits_nothing_is_reported_then_gives_up_again_and_again_ever_more_seldom() {
        let (reported, gave_up) = run(6000, |_| leader(9, 8, 8));
        assert_eq!(reported, Some((11, Stands::Commit)), "as it was seen at tick 1 first");
        let apart: Vec<u64> = gave_up.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(gave_up[0], 61);
        assert_eq!(apart, [60, 120, 240, 480, 960, 960, 960, 960, 960]);
    }

    #[test]
    fn who_follows_has_nothing_to_commit_or_goes_on_is_left_alone() {
        let nothing = (None, Vec::new());
        assert_eq!(run(1000, |_| At { leads: false, ..leader(9, 8, 8) }), nothing);
        assert_eq!(run(1000, |_| leader(9, 9, 9)), nothing);
        assert_eq!(run(1000, |tick| leader(9 + tick, 8 + tick / 9, 8 + tick / 9)), nothing);
    }

    #[test]
    fn what_is_committed_and_not_applied_is_reported_on_any_replica() {
        let behind = At { leads: false, ..leader(9, 9, 8) };
        assert_eq!(run(1000, |_| behind), (Some((11, Stands::Apply)), Vec::new()));
        assert_eq!(run(1000, |_| At { excused: true, ..behind }), (None, Vec::new()), "it installs a snapshot");
    }
}
