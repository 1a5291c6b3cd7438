//! The planner, checked exhaustively: every state of small clusters that can be reached by its plans, the nodes' own
//! work, time, faults, wishes, crashes of the operator between any two steps, views that are stale or not there, and a second
//! operator that acts on an older view. Within its bounds (`bounds`) each search is complete.
//!
//! ```text
//! world (places, nodes, shards) ─► view ─► the real planner and linter ─► acts ─► orders, places ─► world
//!        └─► groups, time (actions), operators (rounds), faults and wishes (outside)
//! rules: of each state, each change, each world at rest      circles: of the graph without what comes from outside
//! ```
//!
//! The operator here is look, plan, one step after the other, and refusals, as in `granary-operator`'s loop. The loop
//! itself is not in it: it waits for futures and speaks protobuf, and the middle of a round cannot be copied as a state. It
//! runs in `operator/tests/reconcile.rs` and in the simulation.
//!
//! `GRANARY_MODEL=large`: also the bounds for a run by hand. `GRANARY_MODEL_ONLY=restarts`: those with that in the name.

#![allow(clippy::expect_used, clippy::panic)]

mod actions;
mod acts;
mod bounds;
mod broken;
mod circles;
mod encode;
mod few;
mod groups;
mod operator;
mod orders;
mod outside;
mod places;
mod rounds;
mod rules;
mod search;
mod trace;
mod view;
mod world;

use std::sync::Mutex;

use bounds::Bounds;

/// Small pieces are made and freed all the time: with this allocator it takes three quarters of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Searches at once: each takes one processor and up to 2 GB.
const AT_ONCE: usize = 2;

/// Explores each of them; panics with the first trace. `GRANARY_MODEL_ONLY` chooses by a part of the name.
fn explore(all: &[Bounds]) {
    let only = std::env::var("GRANARY_MODEL_ONLY").unwrap_or_default();
    let left = Mutex::new(all.iter().filter(|bounds| bounds.name.contains(&only)));
    let next = || left.lock().expect("no search panics").next();
    let work = || {
        let (mut states, mut transitions, mut seconds) = (0, 0, 0.0);
        while let Some(bounds) = next() {
            let found = search::explore(bounds)?;
            println!("{:28} {found}", bounds.name);
            states += found.states;
            transitions += found.transitions;
            seconds += found.seconds;
        }
        Ok((states, transitions, seconds))
    };
    let done: Result<Vec<(usize, u64, f64)>, String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a search does not panic")).collect()
    });
    let done = done.unwrap_or_else(|trace| panic!("\n{trace}"));
    let states: usize = done.iter().map(|of| of.0).sum();
    let transitions: u64 = done.iter().map(|of| of.1).sum();
    let seconds: f64 = done.iter().map(|of| of.2).sum();
    println!("{:28} {states:>9} states, {transitions:>9} transitions, {seconds:.1} s of one processor", "together");
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes a minute with --release, and ten without")]
fn small_clusters_in_every_state() {
    let large = std::env::var("GRANARY_MODEL").is_ok_and(|size| size == "large");
    explore(&if large { bounds::large() } else { bounds::small() });
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without --release")]
fn every_broken_variant_is_found() {
    let only = std::env::var("GRANARY_MODEL_ONLY").unwrap_or_default();
    for (bounds, says) in broken::all().into_iter().filter(|(bounds, _)| format!("{:?}", bounds.broken).contains(&only))
    {
        let trace = search::explore(&bounds).expect_err(&format!("{:?} was not found", bounds.broken));
        let said = trace.lines().next().unwrap_or_default();
        assert!(said.contains(says), "{:?}: {says:?} was expected:\n{trace}", bounds.broken);
        let steps = trace.lines().filter(|line| line.get(..4).is_some_and(|number| number.ends_with('.'))).count();
        println!("{:26} found in {steps:>2} actions of {:24} {said}", format!("{:?}", bounds.broken), bounds.name);
    }
}
