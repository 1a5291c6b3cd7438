//! The planner, checked exhaustively: every state of small clusters that can be reached by its plans, the nodes' own
//! work, faults, wishes, crashes of the operator at any step, views that are stale or not there, and a second operator.
#![allow(clippy::expect_used, clippy::panic)]

mod actions;
mod bounds;
mod broken;
mod circles;
mod encode;
mod few;
mod groups;
mod operator;
mod orders;
mod rules;
mod search;
mod trace;
mod view;
mod world;

use bounds::Bounds;

/// Explores each of them; panics with the first trace. `GRANARY_MODEL_ONLY` chooses by a part of the name.
fn explore(all: &[Bounds]) {
    let only = std::env::var("GRANARY_MODEL_ONLY").unwrap_or_default();
    for bounds in all.iter().filter(|bounds| bounds.name.contains(&only)) {
        match search::explore(bounds) {
            Ok(found) => println!("{:28} {found}", bounds.name),
            Err(trace) => panic!("\n{trace}"),
        }
    }
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
