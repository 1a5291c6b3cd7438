//! Walks from spec to spec, as Acto does them (SOSP '23): over specs that can be met and specs that cannot, each left before
//! or after it is reached, and from a bad one back to a good one. Meanwhile the operator is unwell in Sieve's three ways
//! (see `sim/sieve`). Nine nodes and 16 shards at most; what no plan may do is checked in every round (see `sim`).
//!
//! One walk again: `GRANARY_SEED=7 cargo test --release -p granary-planner --test walks`. More: `GRANARY_SEEDS=2000`.

#![allow(clippy::expect_used, clippy::panic)]

mod sim;

use std::collections::{BTreeMap, VecDeque};

use granary_planner::{
    Plan,
    observed::{Disk, Place, Process, Seen},
    plan::Step,
};
use sim::{World, chaos::Event, desired, sieve::Pattern};

/// Walks that CI makes.
const WALKS: u64 = 200;
/// Specs of each.
const LEGS: usize = 10;
/// Rounds by which a stale view is late, at most.
const LATE: usize = 4;

/// What a spec changes. The first are bad: refused where they are written, and met by nobody where they are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Leg {
    /// Another number of shards than the cluster was made with.
    OtherShards,
    /// Another number of copies.
    OtherFactor,
    /// Fewer nodes than copies.
    TooFewNodes,
    /// Every node is to be drained.
    DrainAll,
    /// An image that never comes up.
    BrokenImage,
    Replicas,
    Restart,
    Drain,
    Undrain,
    Paused,
    NeverReplace,
    NodeLost,
    NodeStops,
    /// A process that is no member's yet, if there is one.
    PlaceStops,
}

const BAD: [Leg; 5] = [Leg::OtherShards, Leg::OtherFactor, Leg::TooFewNodes, Leg::DrainAll, Leg::BrokenImage];
const GOOD: [Leg; 9] = [
    Leg::Replicas,
    Leg::Restart,
    Leg::Drain,
    Leg::Undrain,
    Leg::Paused,
    Leg::NeverReplace,
    Leg::NodeLost,
    Leg::NodeStops,
    Leg::PlaceStops,
];
const PATTERNS: [Pattern; 3] = [Pattern::Crash, Pattern::Missed, Pattern::Stale];

#[derive(Debug, Default)]
struct Counts {
    legs: BTreeMap<Leg, usize>,
    /// Rounds by pattern, and those of them that did something else than a well operator.
    rounds: BTreeMap<Pattern, (usize, usize)>,
    settled: usize,
    back_from_bad: usize,
}

struct Walk {
    world: World,
    earlier: VecDeque<Vec<Place>>,
    replicas: u32,
}

impl Walk {
    fn step(&mut self, leg: Leg) {
        let world = &mut self.world;
        let number = world.random(64);
        match leg {
            Leg::OtherShards => world.desired.shards *= 2,
            Leg::OtherFactor => world.desired.replication_factor = [1, 5][number % 2],
            Leg::TooFewNodes => world.desired.replicas = 1,
            Leg::DrainAll => world.desired.draining = (1..60).collect(),
            Leg::BrokenImage => world.revise(true),
            Leg::Replicas => {
                self.replicas = 3 + number as u32 % 7;
                world.desired.replicas = self.replicas;
            }
            Leg::Restart => world.happen(Event::Revise),
            Leg::Drain => world.happen(Event::Drain(number)),
            Leg::Undrain => world.happen(Event::Undrain),
            Leg::Paused => world.desired.paused = true,
            Leg::NeverReplace => world.desired.replace_after_ms = None,
            Leg::NodeLost => {
                world.happen([Event::Wipe, Event::Lose, Event::Silence][number % 3](number));
            }
            Leg::NodeStops => world.happen(Event::Kill(number)),
            Leg::PlaceStops => {
                let blank = |place: &&mut Place| !matches!(place.disk, Seen::Fresh(Disk::Member { .. }));
                let places = world.observed.places.iter_mut().filter(blank);
                places.for_each(|place| place.process = Seen::Fresh(Process::Stopped));
            }
        }
        world.new_era();
    }

    /// The spec as it was before it was bad, and the machines back.
    fn back(&mut self) {
        let world = &mut self.world;
        let good = desired(self.replicas, 3, 16);
        world.desired = granary_planner::Desired { draining: world.desired.draining.clone(), ..good };
        if world.desired.draining.len() > 9 {
            world.desired.draining.clear();
        }
        if world.stops.broken {
            world.revise(false);
        }
        world.new_era();
    }

    fn rounds(&mut self, number: usize, counts: &mut Counts) {
        for _ in 0..number {
            let pattern = PATTERNS[self.world.random(PATTERNS.len())];
            let earlier = self.earlier.front().cloned().unwrap_or_default();
            self.earlier.push_back(self.world.observed.places.clone());
            while self.earlier.len() > 1 + self.world.random(LATE) {
                self.earlier.pop_front();
            }
            if self.world.random(3) == 0 {
                let plan = self.world.plan();
                self.world.apply(&plan);
                self.world.pass();
                continue;
            }
            let differs = self.world.unwell_round(pattern, &earlier);
            let of = counts.rounds.entry(pattern).or_default();
            *of = (of.0 + 1, of.1 + usize::from(differs));
        }
    }

    fn settle(&mut self, counts: &mut Counts) {
        self.back();
        self.world.happen(Event::Return);
        self.world.happen(Event::Undrain);
        self.world.run();
        let there = self.world.counts().len();
        assert_eq!(there, self.replicas as usize, "nodes");
        assert!(self.world.observed.places.iter().all(|place| place.restart.is_none()));
        if self.world.zones == 0 {
            self.world.assert_even();
        }
        counts.settled += 1;
    }
}

fn walk(seed: u64, tamper: Option<fn(&mut Plan)>, counts: &mut Counts) {
    let (replicas, zones) = (3 + seed as u32 % 7, seed as u32 % 3);
    let mut world = World::settled(desired(replicas, 3, 16), zones, seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    (world.stops.slow, world.stops.keeps) = (seed & 1 == 0, seed % 5 < 1);
    world.tamper = tamper;
    let mut walk = Walk { world, earlier: VecDeque::new(), replicas };
    for _ in 0..LEGS {
        let bad = walk.world.random(3) == 0;
        let from: &[Leg] = if bad { &BAD } else { &GOOD };
        let leg = from[walk.world.random(from.len())];
        *counts.legs.entry(leg).or_default() += 1;
        walk.step(leg);
        let rounds = walk.world.random(16);
        walk.rounds(rounds, counts);
        if bad {
            walk.back();
            counts.back_from_bad += 1;
        }
        if walk.world.random(4) == 0 {
            walk.settle(counts);
        }
    }
    walk.settle(counts);
}

#[test]
fn every_walk_from_spec_to_spec_ends_as_the_last_one_says() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("GRANARY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("GRANARY_SEEDS").unwrap_or(if cfg!(debug_assertions) { 5 } else { WALKS }),
    };
    let mut counts = Counts::default();
    for seed in seeds.clone() {
        let told = Told(seed);
        walk(seed, None, &mut counts);
        std::mem::forget(told);
    }
    println!("{} walks: {counts:?}", seeds.end - seeds.start);
    if seeds.end - seeds.start >= WALKS {
        assert_eq!(counts.legs.len(), BAD.len() + GOOD.len(), "some kind of spec was never walked to");
        assert!(counts.rounds.values().all(|(_, differs)| *differs > 0) && counts.rounds.len() == PATTERNS.len());
    }
}

/// Errors put in between planner and world: walks that do not find them find nothing.
#[test]
fn walks_find_operators_that_forget_or_rush() {
    let forgets: fn(&mut Plan) = |plan| plan.steps.retain(|planned| !matches!(planned.step, Step::CancelDrain { .. }));
    let rushes: fn(&mut Plan) = |plan| {
        for planned in &mut plan.steps {
            if let Step::Drain { node } = planned.step {
                planned.step = Step::RemoveNode { node };
            }
        }
    };
    let unreserved: fn(&mut Plan) =
        |plan| plan.steps.retain(|planned| !matches!(planned.step, Step::ReserveStop { .. }));
    for (name, tamper) in [("forgets to cancel", forgets), ("rushes", rushes), ("does not reserve", unreserved)] {
        let fails = |seed: &u64| {
            let walk = || walk(*seed, Some(tamper), &mut Counts::default());
            std::panic::catch_unwind(walk).is_err()
        };
        let found = (0..50).find(fails);
        println!("{name}: found by walk {found:?}");
        assert!(found.is_some(), "{name}: not found");
    }
}

/// Prints the seed of the walk that panics.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        println!("again: GRANARY_SEED={} cargo test --release -p granary-planner --test walks", self.0);
    }
}
