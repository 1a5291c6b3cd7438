//! What the nemesis does when: rounds of overlapping faults, from a seed alone. Pure; knows no process.
//!
//! Kinds are dealt like cards: each comes once before any comes again, so that a short run has all of them.

use std::{collections::BTreeSet, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use crate::kind::Kind;

/// Most faults of a round, beside what is asked of the operator.
const MOST: usize = 3;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// What.
    pub kind: Kind,
    /// When it begins, from the round's begin.
    pub after: Duration,
    /// How long it lasts; of no meaning for what is over at once.
    pub lasts: Duration,
    /// Decides about targets and shapes, together with what is there then.
    pub pick: u64,
}

/// Faults that overlap, and end together at the latest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Every replica must be whole before it begins: a copy of the data is destroyed in it, or it is time to see it.
    pub from_whole: bool,
    /// In order of their begin.
    pub faults: Vec<Timed>,
    /// Pause behind it, without faults.
    pub calm: Duration,
}

/// Deals rounds for ever.
pub struct Plan {
    rng: StdRng,
    faults: Vec<Kind>,
    churn: Vec<Kind>,
    deck: Vec<Kind>,
    rounds: usize,
}

impl Plan {
    /// Of these kinds only.
    pub fn new(seed: u64, kinds: &BTreeSet<Kind>) -> Self {
        let faults = kinds.iter().copied().filter(|kind| !kind.is_churn()).collect();
        let churn = Kind::CHURN.into_iter().filter(|kind| kinds.contains(kind)).collect();
        Self { rng: StdRng::seed_from_u64(seed), faults, churn, deck: Vec::new(), rounds: 0 }
    }

    /// The next round.
    pub fn deal(&mut self) -> Round {
        let mut faults = Vec::new();
        if !self.churn.is_empty() {
            let kind = self.churn[self.rounds % self.churn.len()];
            let after = self.millis(0, 1_500);
            faults.push(self.timed(kind, after));
        }
        for number in 0..self.rng.random_range(1..=MOST) {
            let Some(kind) = self.draw(&faults) else { break };
            let after = match kind {
                // A copy goes while all others are whole, and not later.
                Kind::Wipe => Duration::ZERO,
                _ => self.millis(200, 1_000) + Duration::from_millis(1_500) * number as u32,
            };
            faults.push(self.timed(kind, after));
        }
        faults.sort_by_key(|fault| fault.after);
        self.rounds += 1;
        // A drain needs the nodes that were asked for before.
        let needs_whole = |fault: &Timed| matches!(fault.kind, Kind::Wipe | Kind::Drain);
        let from_whole = self.rounds.is_multiple_of(4) || faults.iter().any(needs_whole);
        Round { from_whole, faults, calm: self.millis(0, 2_500) }
    }

    /// The next card; a kind is not twice in a round.
    fn draw(&mut self, taken: &[Timed]) -> Option<Kind> {
        if self.deck.is_empty() {
            self.deck.clone_from(&self.faults);
            self.deck.shuffle(&mut self.rng);
        }
        let at = self.deck.iter().rposition(|kind| taken.iter().all(|fault| fault.kind != *kind))?;
        Some(self.deck.remove(at))
    }

    fn timed(&mut self, kind: Kind, after: Duration) -> Timed {
        let lasts = match kind {
            Kind::DiskStall => self.millis(5_000, 12_000),
            Kind::DiskSlow | Kind::DiskFull => self.millis(4_000, 9_000),
            Kind::OperatorKill => self.millis(300, 4_000),
            Kind::Pause => self.millis(700, 5_000),
            _ => self.millis(1_500, 7_000),
        };
        Timed { kind, after, lasts, pick: self.rng.random() }
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(least..=most))
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    fn all() -> BTreeSet<Kind> {
        Kind::value_variants().iter().copied().collect()
    }

    #[test]
    fn a_seed_gives_one_plan_and_another_seed_another() {
        let deal = |seed| {
            let mut plan = Plan::new(seed, &all());
            (0..50).map(|_| plan.deal()).collect::<Vec<_>>()
        };
        assert_eq!(deal(7), deal(7));
        assert_ne!(deal(7), deal(8));
    }

    #[test]
    fn every_kind_comes_within_twenty_rounds() {
        for seed in 0..200 {
            let mut plan = Plan::new(seed, &all());
            let dealt: BTreeSet<Kind> = (0..20).flat_map(|_| plan.deal().faults).map(|fault| fault.kind).collect();
            assert_eq!(dealt, all(), "seed {seed}");
        }
    }

    #[test]
    fn a_disk_is_wiped_only_at_the_begin_of_a_round_that_begins_whole_and_only_once() {
        let mut plan = Plan::new(1, &all());
        for round in (0..500).map(|_| plan.deal()) {
            let wipes: Vec<_> = round.faults.iter().filter(|fault| fault.kind == Kind::Wipe).collect();
            assert!(wipes.len() <= 1);
            assert!(wipes.iter().all(|wipe| round.from_whole && wipe.after.is_zero()));
        }
    }

    #[test]
    fn only_what_is_asked_for_is_dealt() {
        let only = BTreeSet::from([Kind::Kill]);
        let mut plan = Plan::new(3, &only);
        assert!((0..20).flat_map(|_| plan.deal().faults).all(|fault| fault.kind == Kind::Kill));
        assert!(Plan::new(3, &BTreeSet::new()).deal().faults.is_empty());
    }
}
