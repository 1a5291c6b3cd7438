//! What the model check (`tests/model`) and the worlds (`tests/simulation`) found, each as the plan that was wrong.

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

/// Plans and obeys until this step is planned.
fn until(world: &mut World, step: &Step) {
    for _ in 0..100 {
        if steps(world).contains(step) {
            return;
        }
        world.apply(&world.plan());
        world.pass();
    }
    panic!("{step} is not planned:\n{}", world.plan());
}

/// Worlds, seed 1083. The stop of the next node of a roll was reserved when another one lost its disk: the roll waited for
/// the lost node to go, and the lost node, replaced and empty, for the roll. Only the end of the reservation led out, and
/// that was an hour away, as the wall clock had been an hour ahead when it was made.
#[test]
fn a_lost_node_that_holds_nothing_goes_although_the_stop_of_another_one_is_reserved() {
    let mut world = World::settled(desired(4, 3, 16), 0, 7);
    world.revise(false);
    world.wipe(3);
    until(&mut world, &Step::RemoveNode { node: 3 });
    world.cluster().stop_reserved = Some(4);
    assert_eq!(steps(&world), [Step::RemoveNode { node: 3 }]);
    // Then the one whose turn it is goes on, and no other.
    world.apply(&world.plan());
    assert_eq!(steps(&world), [Step::LeadersAway { node: 4 }]);
    world.run();
    assert_eq!(world.cluster().nodes.len(), 4);
}

/// While a lost node still holds something nothing changes: nobody stops, and it stays.
#[test]
fn a_lost_node_that_holds_something_stays_and_nobody_stops() {
    let mut world = World::settled(desired(4, 3, 16), 0, 7);
    world.revise(false);
    world.wipe(3);
    world.cluster().stop_reserved = Some(4);
    assert!(matches!(steps(&world)[..], [Step::Join { index: 2 }]), "{}", world.plan());
    world.apply(&world.plan());
    assert!(matches!(steps(&world)[..], [Step::Reconfigure { .. }]), "{}", world.plan());
}

#[test]
fn a_node_that_leaves_waits_for_the_stop_of_another_one_while_it_is_heard() {
    let mut world = World::settled(desired(4, 3, 16), 0, 7);
    world.desired.replicas = 3;
    until(&mut world, &Step::RemoveNode { node: 4 });
    world.revise(false);
    world.cluster().stop_reserved = Some(1);
    assert!(!steps(&world).contains(&Step::RemoveNode { node: 4 }), "{}", world.plan());
    world.silence(4, 5_000);
    assert_eq!(steps(&world), [Step::RemoveNode { node: 4 }]);
}
