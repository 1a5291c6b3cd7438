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

use bounds::Bounds;

/// Explores each of them; panics with the first trace. `GRANARY_MODEL_ONLY` chooses by a part of the name.
fn explore(all: &[Bounds]) {
    let only = std::env::var("GRANARY_MODEL_ONLY").unwrap_or_default();
    let (mut states, mut transitions, mut seconds) = (0, 0, 0.0);
    for bounds in all.iter().filter(|bounds| bounds.name.contains(&only)) {
        match search::explore(bounds) {
            Ok(found) => {
                println!("{:28} {found}", bounds.name);
                states += found.states;
                transitions += found.transitions;
                seconds += found.seconds;
            }
            Err(trace) => panic!("\n{trace}"),
        }
    }
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
