//! Single faults, one a test, in the same world.

use granary_common::ShardId;
use granary_simulation::{
    run::found,
    world::{MS, SECOND, Shape, World},
};

const SHARD: ShardId = ShardId(1);

fn shape(nodes: u32) -> Shape {
    Shape { places: 8, shards: 1, factor: 3, nodes }
}

/// The highest term in which anybody leads or led.
fn term(world: &World) -> u64 {
    let terms =
        (0..world.places.len()).filter_map(|place| world.member(place)?.board.get(&SHARD).map(|seen| seen.term));
    terms.max().unwrap_or(0)
}

fn leader(world: &World) -> Option<usize> {
    (0..world.places.len()).find(|place| world.member(*place).is_some_and(|member| member.leads(SHARD).is_some()))
}

/// Answers to heartbeats go beside the sync: else two followers on slow disks would depose a healthy leader.
#[test]
fn two_followers_stalled_on_disk_for_half_a_second_cause_no_election() {
    let world = found(5, shape(3)).unwrap();
    world.borrow_mut().start_clients(2, 2, 5);
    World::run_for(&world, SECOND);
    let (before, leads) = (term(&world.borrow()), leader(&world.borrow()).unwrap());
    {
        let mut world = world.borrow_mut();
        let until = world.now + 500 * MS;
        for place in (0..3).filter(|place| *place != leads) {
            world.places[place].stalled_until = until;
        }
    }
    World::run_for(&world, 2 * SECOND);
    assert_eq!((term(&world.borrow()), leader(&world.borrow())), (before, Some(leads)));
}

/// The checks fail on a vote that is granted too early; here everything asks for one.
#[test]
fn a_restarted_follower_asked_for_its_vote_within_the_leaders_lease_refuses() {
    let world = found(1, shape(3)).unwrap();
    let leads = leader(&world.borrow()).unwrap();
    let followers: Vec<usize> = (0..3).filter(|place| *place != leads).collect();
    world.borrow_mut().network.cut.insert((leads, followers[0]));
    World::run_for(&world, 450 * MS);
    {
        let mut world = world.borrow_mut();
        world.crash(followers[1], false);
        world.start(followers[1]);
        world.network.cut.insert((leads, followers[1]));
    }
    World::run_for(&world, 350 * MS);
    assert_eq!(leader(&world.borrow()), Some(leads), "somebody else was elected with the vote of a restarted follower");
    World::run_for(&world, 3 * SECOND);
    assert_ne!(leader(&world.borrow()), Some(leads), "nobody was elected at all");
}
