//! Whole plans as users read them, a file each. Refresh: `GRANARY_BLESS=1 cargo test -p granary-planner`.

#![allow(clippy::expect_used, clippy::panic)]

mod sim;

use std::path::Path;

use granary_planner::observed::*;
use sim::{ID, World, desired};

fn golden(name: &str, world: &World) {
    let text = world.plan().render();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    if std::env::var_os("GRANARY_BLESS").is_some() {
        std::fs::write(&path, &text).expect("write");
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{name}: see the top of this file");
}

fn three() -> World {
    World::settled(desired(3, 3, 16), 0, 7)
}

fn unanswered(world: &mut World) {
    world.observed.cluster = Seen::Unknown("no node answers".to_owned());
}

#[test]
fn founding() {
    let mut world = World::empty(desired(3, 3, 64), 0, 7);
    golden("mint", &world);
    world.apply(&world.plan());
    golden("first-bootstrap", &world);
    world.apply(&world.plan());
    golden("found", &world);
    let disk = Disk::Member { cluster_id: ID.to_owned(), node_id: 1 };
    world.observed.places[0].disk = Seen::Fresh(disk);
    golden("half-founded", &world);
    world.observed.places[1].disk = Seen::Unknown("no answer".to_owned());
    golden("founder-unknown", &world);
    let mut world = World::empty(desired(3, 3, 64), 0, 7);
    for _ in 0..3 {
        world.apply(&world.plan());
    }
    golden("create-shards-on-3", &world);
}

#[test]
fn scaling() {
    let mut world = three();
    golden("settled", &world);
    world.desired.replicas = 5;
    golden("scale-3-to-5-start", &world);
    world.apply(&world.plan());
    golden("scale-3-to-5-join", &world);
    world.apply(&world.plan());
    golden("scale-3-to-5-move", &world);
    world.run();
    world.desired.replicas = 3;
    golden("scale-5-to-3-drain", &world);
    world.apply(&world.plan());
    golden("scale-5-to-3-move", &world);
    world.desired.replicas = 5;
    golden("drain-cancelled", &world);
}

#[test]
fn losses() {
    let mut world = three();
    world.wipe(2);
    golden("wiped-node", &world);
    world.apply(&world.plan());
    golden("wiped-node-joined", &world);
    let mut world = three();
    world.silence(2, 60_000);
    golden("silent-before-replace-after", &world);
    world.silence(2, 300_000);
    golden("silent-after-replace-after", &world);
    world.silence(3, 300_000);
    golden("two-lost-of-three", &world);
    let mut world = three();
    unanswered(&mut world);
    world.observed.places[1].process = Seen::Fresh(Process::Stopped);
    golden("unknown-cluster", &world);
    let mut world = three();
    unanswered(&mut world);
    for place in &mut world.observed.places {
        place.disk = Seen::Fresh(Disk::Blank { uuid: None });
    }
    golden("data-lost", &world);
    world.observed.places[0].disk = Seen::Unknown("no answer".to_owned());
    golden("two-disks-of-three-empty", &world);
}

#[test]
fn patience() {
    let mut world = World::settled(desired(5, 3, 16), 0, 7);
    world.desired.replicas = 3;
    world.silence(2, 30_000);
    golden("scale-in-while-a-node-is-silent", &world);
    let mut world = World::settled(desired(4, 3, 16), 0, 7);
    world.desired.replicas = 3;
    world.apply(&world.plan());
    for replica in &mut world.cluster().shards[3].replicas {
        replica.caught_up = false;
    }
    golden("drain-while-a-shard-catches-up", &world);
    world.apply(&world.plan());
    world.pass();
    world.desired.replicas = 4;
    world.new_era();
    world.apply(&world.plan());
    golden("moves-turned-back", &world);
}

#[test]
fn rolling() {
    let mut world = three();
    world.revise(true);
    golden("roll-leaders-away", &world);
    world.apply(&world.plan());
    for shard in &mut world.cluster().shards {
        shard.leader = shard.replicas.iter().map(|replica| replica.node).find(|node| *node != 2);
        if shard.id == 0 {
            shard.leader = Some(1)
        }
    }
    golden("roll-restart", &world);
    world.apply(&world.plan());
    golden("roll-comes-back", &world);
    world.silence(2, 45_000);
    golden("roll-stuck", &world);
    world.revise(false);
    golden("roll-newer-spec", &world);
    world.apply(&world.plan());
    world.place_of(2).expect("place").process = Seen::Fresh(Process::Running);
    world.hear(2);
    world.cluster().shards.iter_mut().flat_map(|shard| &mut shard.replicas).for_each(|r| r.caught_up = true);
    golden("roll-release", &world);
    world.apply(&world.plan());
    golden("roll-next", &world);
}

#[test]
fn kubernetes() {
    let mut world = three();
    world.lose(2);
    golden("claim-gone", &world);
    let mut world = three();
    world.place_of(2).expect("place").cordoned = true;
    world.silence(2, 600_000);
    golden("cordoned", &world);
    let mut world = three();
    world.cluster().nodes[0].read_only = true;
    golden("disk-full", &world);
    let mut world = three();
    world.cluster().nodes[0].trouble = "its disk is slow".to_owned();
    golden("node-stalled", &world);
    let mut world = three();
    unanswered(&mut world);
    for place in &mut world.observed.places[..2] {
        (place.process, place.disk) = (Seen::Fresh(Process::Starting), Seen::Fresh(Disk::Gone));
    }
    golden("two-claims-of-three-gone", &world);
    world.observed.places.clear();
    golden("no-place-left", &world);
    let mut world = World::empty(desired(3, 3, 64), 0, 7);
    world.apply(&world.plan());
    world.stops.slow = true;
    world.apply(&world.plan());
    golden("founders-starting", &world);
    let mut world = World::settled(desired(5, 3, 64), 0, 7);
    unanswered(&mut world);
    world.desired.replicas = 3;
    for place in &mut world.observed.places {
        (place.process, place.disk) = (Seen::Fresh(Process::Stopped), Seen::Unknown("it does not run".to_owned()));
    }
    golden("applied-again-with-fewer", &world);
}

#[test]
fn wishes() {
    let mut world = three();
    world.desired.shards = 32;
    world.desired.replication_factor = 1;
    golden("spec-conflict", &world);
    let mut world = three();
    world.desired.paused = true;
    golden("paused", &world);
    let mut world = three();
    for shard in &mut world.cluster().shards {
        shard.leader = Some(1);
    }
    golden("leaders-unbalanced", &world);
    let mut world = World::empty(desired(5, 3, 64), 3, 7);
    for _ in 0..4 {
        world.apply(&world.plan());
    }
    golden("create-5-nodes-in-3-zones", &world);
}
