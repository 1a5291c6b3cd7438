//! Single faults, one a test, in the same world.

use std::rc::Rc;

use granary_common::ShardId;
use granary_simulation::{
    run::{finish, found, judge},
    world::{MS, SECOND, Shape, World},
};
use granary_store::Event;

const SHARD: ShardId = ShardId(1);

/// Who leads the meta shard.
fn meta_leader(world: &World) -> Option<usize> {
    (0..world.places.len()).find(|place| world.member(*place).is_some_and(|member| member.leads(ShardId(0)).is_some()))
}

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

/// Else a run of thousands of them fills the memory: tasks hold the world that holds them.
#[test]
fn a_world_that_has_ended_is_freed() {
    let world = found(2, shape(3)).unwrap();
    world.borrow_mut().start_clients(2, 2, 5);
    World::run_for(&world, SECOND);
    World::end(&world);
    assert_eq!(Rc::strong_count(&world), 1);
}

/// Answers to heartbeats go beside the sync: else two followers on slow disks would depose a healthy leader.
#[test]
fn two_followers_stalled_on_disk_for_half_a_second_or_two_cause_no_election() {
    let world = found(5, shape(3)).unwrap();
    world.borrow_mut().start_clients(2, 2, 5);
    World::run_for(&world, SECOND);
    let (before, leads) = (term(&world.borrow()), leader(&world.borrow()).unwrap());
    for stall in [500 * MS, 2 * SECOND] {
        {
            let mut world = world.borrow_mut();
            let until = world.now + stall;
            for place in (0..3).filter(|place| *place != leads) {
                world.places[place].stalled_until = until;
            }
        }
        World::run_for(&world, stall + SECOND);
        assert_eq!((term(&world.borrow()), leader(&world.borrow())), (before, Some(leads)), "behind {stall} ns");
    }
}

/// HAZARDS H16: what a lease promised at the first look may be gone with the whole replica at the second.
#[test]
fn a_read_that_is_put_aside_while_its_replica_goes_is_not_answered_from_what_is_left() {
    let world = found(3, shape(4)).unwrap();
    {
        let mut world = world.borrow_mut();
        world.start_clients(3, 3, 5);
        (world.stormy, world.pauses_in_reads) = (true, 50_000);
    }
    for _ in 0..6 {
        World::run_for(&world, SECOND);
        {
            let mut world = world.borrow_mut();
            let leads = leader(&world).and_then(|place| world.member(place)).map(|member| member.id().0);
            world.substrate.draining = leads.into_iter().collect();
        }
        World::run_for(&world, 2 * SECOND);
        world.borrow_mut().substrate.draining.clear();
    }
    world.borrow_mut().heal();
    finish(&world).unwrap();
    let mut world = world.borrow_mut();
    judge(&mut world, &[]).unwrap();
    assert!(world.counts.get("read whose lease ran out").is_some_and(|times| *times > 5), "{:?}", world.counts);
}

/// HAZARDS H16: whoever takes over is elected at once, whatever followers have promised. At each step the checks compare the
/// leases of all leaders.
#[test]
fn a_leader_that_handed_over_and_hears_nothing_of_it_has_no_lease_beside_the_next_one() {
    for seed in 1..=10 {
        let world = found(seed, shape(3)).unwrap();
        World::run_for(&world, SECOND);
        let leads = leader(&world.borrow()).unwrap();
        let others: Vec<usize> = (0..3).filter(|place| *place != leads).collect();
        {
            let mut world = world.borrow_mut();
            let to = world.member(others[0]).unwrap().id();
            world.event(leads, Event::TransferLeader { shard: SHARD, to });
            world.network.cut.extend(others.iter().map(|other| (*other, leads)));
        }
        let taken_over = |world: &mut World| {
            let member = world.member(others[0]).unwrap();
            let now = world.boot_ns(others[0]);
            member.leads(SHARD).is_some() && member.lease(SHARD).is_some_and(|lease| now < lease.until_ns)
        };
        assert!(World::run_until(&world, 200 * MS, taken_over).is_some(), "nobody took over in time (seed {seed})");
    }
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

/// World 2219: nodes without a replica of the meta shard know its leader by its last answer only. Where that was, there is an
/// empty disk now, and so soon that nobody found its port closed.
#[test]
fn nodes_whose_leader_of_the_meta_shard_has_lost_its_disk_report_to_the_next_one() {
    let world = found(4, shape(5)).unwrap();
    World::run_for(&world, SECOND);
    {
        let mut world = world.borrow_mut();
        let leads = meta_leader(&world).unwrap();
        world.crash(leads, true);
        let World { places, rng, .. } = &mut *world;
        places[leads].wipe(1, rng);
        world.start(leads);
    }
    let told = |world: &mut World| {
        let leader = meta_leader(world).and_then(|place| world.member(place)).map(|member| member.id());
        let members = (0..world.places.len()).filter_map(|place| world.member(place));
        let believed: Vec<_> = members.map(|member| member.meta_leader()).collect();
        leader.is_some() && believed == vec![leader; 4]
    };
    assert!(World::run_until(&world, 5 * SECOND, told).is_some(), "a node reports to nobody");
    let whole = |world: &mut World| world.is_ready() && world.is_whole();
    assert!(World::run_until(&world, 60 * SECOND, whole).is_some(), "{:?}", world.borrow().substrate.said);
}
