//! Rounds of an operator that is not well, one pattern each (Sieve, OSDI '22): it ends in the middle of its steps, it does
//! not see all there is, or the substrate shows it what was there some rounds ago.

use granary_planner::{
    observed::{Disk, Observed, Place, Process, Seen},
    plan::{Plan, Step},
};

use super::World;

/// The three patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// It crashes between two steps.
    Crash,
    /// It misses what happened: parts of what it sees are stale or unknown.
    Missed,
    /// It sees places as they were.
    Stale,
}

impl World {
    /// A round by this pattern. Whether it changed what was done: the round of a well operator does more or something else.
    pub fn unwell_round(&mut self, pattern: Pattern, earlier: &[Place]) -> bool {
        let clear = self.plan();
        let (seen, mut plan) = match pattern {
            Pattern::Crash => (self.observed.clone(), clear.clone()),
            Pattern::Missed => {
                let seen = self.blurred();
                let plan = self.plan_from(&seen);
                (seen, plan)
            }
            Pattern::Stale => {
                let seen = self.lagging(earlier);
                let plan = self.plan_from(&seen);
                (seen, plan)
            }
        };
        if pattern == Pattern::Crash {
            self.cut(&mut plan);
        }
        let differs = plan.steps.iter().map(|s| &s.step).ne(clear.steps.iter().map(|s| &s.step));
        self.apply_late(&seen, &plan);
        self.pass();
        differs
    }

    /// Places as they were, with what the nodes say of themselves now: they are asked, not looked up.
    fn lagging(&self, earlier: &[Place]) -> Observed {
        let mut seen = self.observed.clone();
        seen.places = earlier.to_vec();
        for place in &mut seen.places {
            let now = self.observed.places.iter().find(|other| other.index == place.index);
            let runs = |place: &Place| place.process == Seen::Fresh(Process::Running);
            let answer = now.filter(|now| runs(now) && runs(place)).map(|now| now.disk.clone());
            if let Some(disk) = answer {
                place.disk = disk;
            } else if let Seen::Fresh(disk @ Disk::Member { .. }) = place.disk.clone() {
                place.disk = Seen::Stale(disk);
            } else if runs(place) {
                place.disk = Seen::Unknown("no answer".to_owned());
            }
        }
        seen
    }

    /// Takes the steps as substrates and nodes do when things have changed since: what is done already is left, and what is
    /// refused ends the round.
    fn apply_late(&mut self, seen: &Observed, plan: &Plan) {
        let mut plan = plan.clone();
        let is_now =
            |world: &Self, index: u32| world.observed.places.iter().find(|place| place.index == index).cloned();
        let mut at = 0;
        while at < plan.steps.len() {
            let now = match plan.steps[at].step {
                Step::StartNode { index } => {
                    if self.observed.taken.contains(&index) && is_now(self, index).is_none() {
                        break;
                    }
                    is_now(self, index).is_none_or(|place| place.process == Seen::Fresh(Process::Stopped))
                }
                Step::RetirePlace { index } => is_now(self, index).is_some(),
                Step::RestartPlace { index } => {
                    let starting = |place: &Place| place.process == Seen::Fresh(Process::Starting);
                    let was_starting = seen.places.iter().any(|place| place.index == index && starting(place));
                    is_now(self, index).is_some_and(|now| now.restart.is_some() && (!was_starting || starting(&now)))
                }
                Step::Join { index } => {
                    if !is_now(self, index)
                        .is_some_and(|place| matches!(place.disk, Seen::Fresh(Disk::Blank { uuid: Some(_) })))
                    {
                        break;
                    }
                    true
                }
                _ => true,
            };
            if now {
                at += 1;
            } else {
                plan.steps.remove(at);
            }
        }
        plan.steps.truncate(at);
        self.apply(&plan);
    }
}
