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
    leader_of(world, ShardId(0))
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
    leader_of(world, SHARD)
}

fn leader_of(world: &World, shard: ShardId) -> Option<usize> {
    (0..world.places.len()).find(|place| world.member(*place).is_some_and(|member| member.leads(shard).is_some()))
}

fn id(world: &World, place: usize) -> u64 {
    world.member(place).unwrap().id().0
}

fn place(world: &World, node: u64) -> Option<usize> {
    (0..world.places.len()).find(|place| world.member(*place).is_some_and(|member| member.id().0 == node))
}

/// The nodes of all replicas that a place knows in the group, in order.
fn nodes(world: &World, place: usize, shard: ShardId) -> Vec<u64> {
    let group = world.member(place).and_then(|member| member.board.get(&shard)).map(|seen| seen.group.clone());
    let mut nodes: Vec<u64> = group.unwrap_or_default().replicas.iter().map(|replica| replica.node_id).collect();
    nodes.sort_unstable();
    nodes
}

/// The nodes where the map of a place wants the replicas.
fn target(world: &World, place: usize, shard: ShardId) -> Vec<u64> {
    let map = world.member(place).map(|member| member.map.clone()).unwrap_or_default();
    let target = map.shards.iter().find(|known| known.id == shard.0).and_then(|known| known.target.clone());
    target.unwrap_or_default().replicas.iter().map(|replica| replica.node_id).collect()
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
    World::run_for(&world, 250 * MS);
    {
        let mut world = world.borrow_mut();
        world.crash(followers[1], false);
        world.start(followers[1]);
        world.network.cut.insert((leads, followers[1]));
    }
    World::run_for(&world, 250 * MS);
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

/// A leader with an older map puts out the learner that a newer one has named, and nobody has told the meta shard that it was
/// ever in: the id is spent on its node, while the target goes on to name it.
#[test]
fn a_learner_that_was_put_out_before_anybody_told_of_it_comes_again_with_another_id() {
    let mut put_out = 0;
    for seed in 1..=12 {
        let world = found(seed, Shape { shards: 4, ..shape(5) }).unwrap();
        World::run_for(&world, 2 * SECOND);
        let meta = meta_leader(&world.borrow()).unwrap();
        let with = |shard| (shard, leader_of(&world.borrow(), shard).unwrap());
        let apart = |(shard, leads): &(ShardId, usize)| {
            let world = world.borrow();
            !nodes(&world, *leads, *shard).contains(&id(&world, meta))
        };
        let Some((shard, leads)) = (1..=4).map(ShardId).map(with).find(apart) else { continue };
        let before = nodes(&world.borrow(), leads, shard);
        let others: Vec<u64> = before.iter().copied().filter(|node| *node != id(&world.borrow(), leads)).collect();
        let (heir, drained) = (place(&world.borrow(), others[0]).unwrap(), others[1]);
        {
            let mut world = world.borrow_mut();
            world.network.cut.extend([(meta, heir), (heir, meta)]);
            world.substrate.draining = vec![drained];
        }
        let named = |world: &mut World| !target(world, meta, shard).contains(&drained);
        assert!(World::run_until(&world, 20 * SECOND, named).is_some(), "no new target (seed {seed})");
        // The leader of the group hears of it, and is heard by the meta shard no more.
        world.borrow_mut().network.cut.insert((leads, meta));
        let added = World::run_until(&world, 2 * SECOND, |world| nodes(world, leads, shard).len() == 4).is_some();
        world.borrow_mut().crash(leads, false);
        let put = |world: &mut World| leader_of(world, shard) == Some(heir) && nodes(world, heir, shard) == before;
        let put = World::run_until(&world, 5 * SECOND, put).is_some();
        {
            let mut world = world.borrow_mut();
            put_out += u32::from(added && put);
            world.network.cut.clear();
            world.start(leads);
        }
        let moved = |world: &mut World| {
            let now = leader_of(world, shard).map(|place| nodes(world, place, shard)).unwrap_or_default();
            world.is_whole() && !now.contains(&drained)
        };
        let done = World::run_until(&world, 60 * SECOND, moved);
        assert!(done.is_some(), "seed {seed}: {:?}", world.borrow().substrate.said);
        World::end(&world);
    }
    assert!(put_out > 0, "no learner was put out");
}

/// Worlds 4496 and 5675: nothing synced the map that it had been given, and it knew nobody without it.
#[test]
fn a_node_without_replicas_that_loses_its_power_is_heard_again() {
    for seed in 1..=10 {
        let world = found(seed, Shape { factor: 1, ..shape(2) }).unwrap();
        let idle = usize::from(leader(&world.borrow()) == Some(0));
        assert!(nodes(&world.borrow(), idle, SHARD).is_empty(), "it holds a replica");
        world.borrow_mut().crash(idle, true);
        world.borrow_mut().start(idle);
        let heard = |world: &mut World| world.member(idle).is_some_and(|member| member.map.version > 0);
        assert!(World::run_until(&world, 5 * SECOND, heard).is_some(), "it knows no map (seed {seed})");
        World::run_for(&world, 15 * SECOND);
        assert!(world.borrow().is_ready(), "seed {seed}: {:?}", world.borrow().substrate.said);
        World::end(&world);
    }
}
