//! What the model check (`tests/model`) found, each as the plan that was wrong.

#![allow(clippy::expect_used, clippy::panic)]

mod sim;

use granary_planner::{
    check::lint,
    observed::{Process, Seen},
    plan::{DegradedReason, Step},
};
use sim::{World, desired};

fn steps(world: &World) -> Vec<Step> {
    let plan = world.plan();
    assert_eq!(lint(&world.desired, &world.observed, &plan), []);
    plan.steps.into_iter().map(|planned| planned.step).collect()
}

/// It was started twice in one plan, once to learn what its disk holds and once as it was missing. The linter refuses
/// such a plan, so nothing at all was done for as long as the process stayed down.
#[test]
fn a_stopped_place_with_an_unknown_disk_is_started_once_when_a_node_is_missing() {
    let mut world = World::settled(desired(3, 3, 16), 0, 7);
    world.desired.replicas = 4;
    world.apply(&world.plan());
    let place = &mut world.observed.places[3];
    (place.process, place.disk) = (Seen::Fresh(Process::Stopped), Seen::Unknown("it does not run".to_owned()));
    assert_eq!(steps(&world), [Step::StartNode { index: 3 }]);
}

/// A founder's disk was wiped and its replacement has joined; in a round that does not see whether a process runs there the
/// founder does not count as lost, and the first copies were to go to it.
#[test]
fn shards_are_created_when_every_node_is_heard() {
    let mut world = World::empty(desired(3, 3, 16), 0, 7);
    while world.observed.cluster.fresh().is_none() {
        world.apply(&world.plan());
    }
    world.observed.founded = true;
    assert!(matches!(steps(&world)[..], [Step::CreateShards { .. }]));
    world.cluster().nodes[1].silent_for_ms = 5_000;
    assert_eq!(steps(&world), []);
}

/// A new leader of the meta shard counts silence from its own beginning: a node that was lost a moment ago looked well for
/// two seconds, and with its replacement there was one node too many, so a healthy one was drained.
#[test]
fn who_leaves_is_not_chosen_before_a_new_leader_of_the_meta_shard_has_heard_everybody() {
    let mut world = World::settled(desired(4, 3, 16), 0, 7);
    world.desired.replicas = 3;
    assert!(matches!(steps(&world)[..], [Step::Drain { .. }]));
    world.cluster().nodes[1].heard = false;
    assert_eq!(steps(&world), []);
}

/// The meta shard admitted a node on the emptied disk, and the answer was lost. Both ids then counted as lost with one disk,
/// two of five, and nothing was planned any more.
#[test]
fn a_node_that_was_admitted_and_does_not_know_it_joins_again_and_is_not_lost() {
    let mut world = World::settled(desired(5, 3, 16), 0, 7);
    world.wipe(1);
    assert!(matches!(steps(&world)[..], [Step::Join { index: 0 }]));
    let blank = world.observed.places[0].disk.clone();
    world.apply(&world.plan());
    let admitted = world.cluster().nodes.last().expect("a node").id;
    world.observed.places[0].disk = blank;
    // However long it was not heard: it was asked to join and replaced in one plan then.
    for silence in [12_000, 400_000] {
        world.silence(admitted, silence);
        assert!(steps(&world).contains(&Step::Join { index: 0 }));
        assert!(!steps(&world).contains(&Step::RemoveNode { node: admitted }));
    }
    assert!(world.plan().degraded.iter().all(|told| told.reason != DegradedReason::ManyNodesLost));
    world.run();
    assert_eq!(world.cluster().nodes.len(), 5);
}
