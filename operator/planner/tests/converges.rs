//! Random worlds that scale, lose nodes and change their mind: always settled in the end, with the fewest moves. What no
//! plan may do is checked in every round (see `sim`). More cases: `make plans CASES=100000`; a failure prints its world.

#![allow(clippy::expect_used, clippy::panic)]

mod sim;

use granary_planner::{
    observed::{Disk, Place, Process, Seen},
    safety,
};
use proptest::prelude::*;
use sim::chaos::Event;
use sim::{World, desired};

/// What nodes have above an even share.
fn surplus(world: &mut World, nodes: usize) -> usize {
    let mut counts: Vec<usize> = world.counts().into_iter().map(|(_, replicas, _)| replicas).collect();
    counts.sort_by_key(|count| std::cmp::Reverse(*count));
    let total: usize = counts.iter().sum();
    let goal = |at: usize| total / nodes + usize::from(at < total % nodes);
    counts.iter().enumerate().map(|(at, count)| count.saturating_sub(goal(at))).sum()
}

fn ids(world: &mut World) -> Vec<u64> {
    world.cluster().nodes.iter().map(|node| node.id).collect()
}

fn factors() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![1u32, 3, 5])
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Quiet),
        3 => (0u32..4).prop_map(Event::Replicas),
        2 => (0usize..8).prop_map(Event::Silence),
        2 => Just(Event::Return),
        2 => (0usize..8).prop_map(Event::Kill),
        1 => (0usize..8).prop_map(Event::Wipe),
        1 => (0usize..8).prop_map(Event::Lose),
        2 => Just(Event::Revise),
        1 => (0usize..8).prop_map(Event::Cordon),
        1 => (0usize..8).prop_map(Event::Drain),
        1 => Just(Event::Undrain),
    ]
}

proptest! {
    #[test]
    fn scaling_settles_evenly_with_the_fewest_moves(
        factor in factors(), from in 0u32..5, to in 0u32..5, power in 0u32..7, seed: u64
    ) {
        let (from, to) = ((factor + from).min(7), (factor + to).min(7));
        let mut world = World::settled(desired(from, factor, 1 << power), 0, seed);
        world.assert_even();
        let before = world.counts();
        let least = if to > from { surplus(&mut world, to as usize) } else { 0 };
        world.desired.replicas = to;
        world.new_era();
        world.run();
        world.assert_even();
        let stayed = ids(&mut world);
        prop_assert_eq!(stayed.len(), to as usize);
        let left: usize = before.iter().filter(|(id, ..)| !stayed.contains(id)).map(|(_, held, _)| held).sum();
        prop_assert_eq!(world.moved, least + left);
    }

    #[test]
    fn a_lost_node_is_replaced_with_the_fewest_moves(
        nodes in 3u32..8, zones in 0u32..4, power in 0u32..7, lost in 1u64..4, silent: bool, seed: u64
    ) {
        let mut world = World::settled(desired(nodes, 3, 1 << power), zones, seed);
        let held = world.held(&[lost]);
        if silent { world.silence(lost, 300_000) } else { world.wipe(lost) }
        world.run();
        prop_assert_eq!(world.counts().len(), nodes as usize);
        prop_assert!(!ids(&mut world).contains(&lost));
        prop_assert!(safety::quorum_margin(world.cluster()) >= 1);
        if zones == 0 {
            world.assert_even();
            prop_assert_eq!(world.moved, held);
        }
    }

    #[test]
    fn a_drain_that_is_cancelled_costs_no_more_than_the_way_back(
        nodes in 4u32..8, fewer in 1u32..4, rounds in 0usize..30, power in 0u32..7, seed: u64
    ) {
        let mut world = World::settled(desired(nodes, 3, 1 << power), 0, seed);
        let before = ids(&mut world);
        world.desired.replicas = (nodes - fewer.min(nodes - 3)).max(3);
        world.new_era();
        for _ in 0..rounds {
            world.apply(&world.plan());
            world.pass();
        }
        let (out, kept) = (world.moved, ids(&mut world));
        world.desired.replicas = nodes;
        world.new_era();
        world.run();
        world.assert_even();
        if kept == before {
            prop_assert_eq!(ids(&mut world), before);
            prop_assert!(world.moved <= 2 * out, "{} there, {} in all", out, world.moved);
        }
    }

    #[test]
    fn any_mix_of_wishes_and_faults_settles_once_it_is_over(
        factor in factors(), nodes in 0u32..4, zones in 0u32..4, power in 0u32..6,
        events in prop::collection::vec((0usize..12, event()), 0..12), slow: bool, keeps: bool, seed: u64
    ) {
        let mut world = World::settled(desired(factor + nodes, factor, 1 << power), zones, seed);
        (world.stops.slow, world.stops.keeps) = (slow, keeps);
        for (rounds, event) in events {
            world.happen(event);
            for _ in 0..rounds {
                world.restless_round();
            }
        }
        world.happen(Event::Return);
        world.happen(Event::Undrain);
        world.run();
        let (there, wanted) = (ids(&mut world).len(), world.desired.replicas as usize);
        prop_assert_eq!(there, wanted);
        prop_assert!(world.observed.places.iter().all(|place| place.restart.is_none()));
        if zones == 0 {
            world.assert_even();
        }
    }

    #[test]
    fn a_roll_starts_every_node_anew_once_and_moves_nothing(
        factor in factors(), more in 0u32..4, zones in 0u32..4, power in 0u32..7, seed: u64
    ) {
        let mut world = World::settled(desired(factor + more, factor, 1 << power), zones, seed);
        world.revise(false);
        world.run();
        prop_assert_eq!(world.stops.restarts, (factor + more) as usize);
        prop_assert_eq!(world.moved, 0);
        prop_assert!(world.cluster().nodes.iter().all(|node| !node.leaders_away));
    }

    #[test]
    fn a_broken_roll_stops_at_one_node_and_a_newer_spec_repairs_it(
        more in 0u32..4, zones in 0u32..4, power in 0u32..6, rounds in 5usize..100, seed: u64, scale in 0u32..4
    ) {
        let mut world = World::settled(desired(3 + more, 3, 1 << power), zones, seed);
        world.revise(true);
        world.desired.replicas = 3 + scale;
        for _ in 0..rounds {
            world.restless_round();
        }
        // A lost node that is one too many is not replaced, and nobody remembers why it was lost.
        let spare = (more.saturating_sub(scale)) as usize;
        prop_assert!(world.stops.restarts <= 1 + spare, "{} nodes were sent away", world.stops.restarts);
        world.revise(false);
        world.run();
        prop_assert_eq!(ids(&mut world).len(), 3 + scale as usize);
    }
}

#[test]
fn three_to_five_nodes_with_64_shards_moves_76_replicas() {
    let mut world = World::settled(desired(3, 3, 64), 0, 3);
    world.desired.replicas = 5;
    world.run();
    world.assert_even();
    assert_eq!(world.moved, 76);
}

#[test]
fn five_nodes_in_three_zones_hold_32_32_32_32_64() {
    let mut world = World::settled(desired(3, 3, 64), 3, 3);
    world.desired.replicas = 5;
    world.run();
    let mut counts: Vec<usize> = world.counts().into_iter().map(|(_, replicas, _)| replicas).collect();
    counts.sort_unstable();
    assert_eq!(counts, [32, 32, 32, 32, 64]);
    assert_eq!(world.moved, 64);
}

#[test]
fn scale_in_leaves_a_node_in_each_zone() {
    let mut world = World::settled(desired(5, 3, 16), 3, 3);
    world.desired.replicas = 3;
    world.run();
    let zones: std::collections::BTreeSet<_> =
        world.cluster().nodes.iter().map(|node| node.domains.zone.clone()).collect();
    assert_eq!(zones.len(), 3);
}

#[test]
fn indexes_whose_disks_were_kept_are_not_used_again() {
    let mut world = World::settled(desired(3, 3, 16), 0, 3);
    world.stops.keeps = true;
    for replicas in [5, 3, 5, 3, 5] {
        world.desired.replicas = replicas;
        world.new_era();
        world.run();
    }
    let indexes: Vec<u32> = world.observed.places.iter().map(|place| place.index).collect();
    world.observed.taken.sort_unstable();
    assert_eq!((indexes, world.observed.taken.clone()), (vec![0, 1, 2, 7, 8], vec![3, 4, 5, 6]));
}

/// A claim that is bound to a disk of a machine that was removed is still there: its name is not to be had again.
#[test]
fn a_disk_that_is_gone_with_its_machine_is_replaced_at_another_index_and_its_place_is_retired() {
    let mut world = World::settled(desired(3, 3, 16), 0, 3);
    world.desired.replace_after_ms = None;
    world.lose(2);
    world.observed.taken.push(1);
    world.new_era();
    world.run();
    let indexes: Vec<u32> = world.observed.places.iter().map(|place| place.index).collect();
    assert_eq!((indexes, world.observed.taken.clone()), (vec![0, 2, 3], vec![1]));
    assert_eq!(world.cluster().nodes.iter().map(|node| node.id).collect::<Vec<_>>(), [1, 3, 4]);
}

/// It was called settled, and then the disk was seen again, and the place was given up.
#[test]
fn a_place_too_many_whose_disk_was_gone_and_is_not_known_just_now_is_waited_for() {
    let mut world = World::settled(desired(3, 3, 16), 0, 3);
    let (process, disk) = (Seen::Fresh(Process::Starting), Seen::Stale(Disk::Gone));
    let place = Place { index: 3, name: "node-3".to_owned(), process, disk, ..world.observed.places[0].clone() };
    world.observed.places.push(place);
    let plan = world.plan();
    assert!(plan.steps.is_empty() && !plan.is_settled(), "{plan}");
    world.observed.places.pop();
    assert!(world.plan().is_settled());
}

#[test]
fn who_leaves_is_chosen_when_every_node_has_come_up() {
    let mut world = World::settled(desired(5, 3, 16), 0, 3);
    world.desired.replicas = 3;
    world.observed.places[3].process = Seen::Fresh(Process::Starting);
    let plan = world.plan();
    assert!(plan.steps.is_empty(), "{plan}");
}

#[test]
fn no_shard_has_two_copies_on_one_machine_while_there_is_another() {
    let mut world = World::settled(desired(4, 3, 16), 0, 3);
    for (node, machine) in world.cluster().nodes.iter_mut().zip(["m0", "m1", "m2", "m0"]) {
        node.domains.machine = machine.to_owned();
    }
    world.new_era();
    world.run();
    for shard in &world.cluster().shards {
        assert!(!(shard.target.contains(&1) && shard.target.contains(&4)), "{shard:?}");
    }
}

#[test]
fn a_node_asked_to_drain_stays_a_member_without_replicas_until_the_wish_is_taken_back() {
    let mut world = World::settled(desired(5, 3, 16), 0, 3);
    world.desired.draining = vec![2];
    world.run();
    assert!(world.counts().contains(&(2, 0, 0)), "{:?}", world.counts());
    world.desired.draining.clear();
    world.new_era();
    world.run();
    world.assert_even();
}
