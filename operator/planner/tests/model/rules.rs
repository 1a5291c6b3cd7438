//! What must hold: of every state, of every change, and of every world in which nothing happens any more.

use crate::{
    acts::Act,
    bounds::Bounds,
    operator::Planned,
    world::{Disk, LOST, Node, Role, Shard, World},
};

/// Of a state, however it came about.
pub fn always(bounds: &Bounds, world: &World) -> Result<(), String> {
    let twice = |ids: &[u8]| ids.iter().any(|id| ids.iter().filter(|other| *other == id).count() > 1);
    let members: Vec<u8> = world.nodes.iter().map(|node| node.id).collect();
    let held = world.places.iter().filter_map(|p| if let Disk::Member(id) = p.disk { Some(id) } else { None });
    let disks: Vec<u8> = held.collect();
    if twice(&members) || twice(&disks) {
        return Err(format!("an id twice: members {members:?}, disks {disks:?}"));
    }
    if world.nodes.iter().any(|node| node.id >= world.next_node) {
        return Err("an id that was never given out".to_owned());
    }
    // Shards divide the slots among them when they are created: all of them or none, and never anew.
    if !matches!(world.shards.len(), 0 | 1) && world.shards.len() != bounds.shards as usize + 1 {
        return Err(format!("{} shards: slots are owned by none", world.shards.len()));
    }
    for (shard, id) in world.shards.iter().zip(0..) {
        let nodes: Vec<u8> = shard.replicas.iter().map(|replica| replica.node).collect();
        if twice(&nodes) {
            return Err(format!("shard {id} has two replicas on a node: {nodes:?}"));
        }
        if let Some(stranger) = nodes.iter().chain(shard.target.iter()).find(|node| !members.contains(node)) {
            return Err(format!("shard {id} needs node {stranger}, which is no member"));
        }
        if !shard.replicas.iter().any(|replica| replica.role != Role::Learner) {
            return Err(format!("shard {id} has no voter"));
        }
    }
    Ok(())
}

/// Of what an operator or the nodes themselves do. `act`: of an operator; `raced`: a fault came between look and step.
pub fn own_act(bounds: &Bounds, before: &World, after: &World, act: Option<&Act>, raced: bool) -> Result<(), String> {
    if let Some(Act::Retire(index)) = act
        && let Some(Disk::Member(id)) = before.place(*index).map(|place| place.disk)
    {
        let named = |shard: &&Shard| shard.replica(id).is_some() || shard.target.contains(&id);
        if before.node(id).is_some() || before.shards.iter().any(|shard| named(&shard)) {
            return Err(format!("the disk of node {id}, a member, is given up"));
        }
    }
    if let Some(Act::Bootstrap { epochs, .. }) = act
        && before.on_disk() != after.on_disk()
    {
        if before.on_disk() == 0 && before.shards.len() > 1 {
            return Err("a cluster that held data is founded anew".to_owned());
        }
        if after.content != Some(*epochs) {
            return Err("founders get different contents of Bootstrap".to_owned());
        }
    }
    if let Some(Act::Join(_)) = act
        && let Some(new) = after.nodes.iter().find(|node| before.node(node.id).is_none() && node.id < before.next_node)
    {
        return Err(format!("node id {} is given out a second time", new.id));
    }
    let (alive_before, alive) = (before.alive(), after.alive());
    for (at, (was, is)) in before.shards.iter().zip(after.shards.iter()).enumerate() {
        if was.replicas.iter().any(|replica| replica.data) && !is.replicas.iter().any(|replica| replica.data) {
            return Err(format!("the last copy of shard {at} is taken away"));
        }
        if was.majority(|replica| replica.data) && !is.majority(|replica| replica.data) {
            return Err(format!("shard {at} keeps too few copies that have everything: {is:?}"));
        }
        // One copy: its shards are away while its node starts anew, however one waits.
        let alone = bounds.factor == 1 && matches!(act, Some(Act::Restart { .. }));
        let raced = raced && matches!(act, Some(Act::Restart { .. }));
        if was.commits(alive_before) && !is.commits(alive) && !alone && !raced {
            return Err(format!("shard {at} loses its quorum: {is:?}"));
        }
    }
    if before.shards.len() > after.shards.len().max(1) {
        return Err("shards are gone".to_owned());
    }
    Ok(())
}

/// Of a step whose plan was made from just this world, all of it seen.
pub fn knowable(world: &World, act: &Act) -> Result<(), String> {
    let unheard = |node: &&Node| !node.draining && (!node.heard || node.silence > 0);
    match act {
        Act::Drain(id) if *id != world.drain_wish && world.alive() & 1 << id != 0 => {
            match world.nodes.iter().filter(|node| node.id != *id).find(unheard) {
                Some(other) => Err(format!("node {id} is well and has to leave, while node {} is not heard", other.id)),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Of a world in which nothing happens by itself any more: it is as desired, or it cannot be and the plan says why, or
/// else the error of its step does.
pub fn settled(bounds: &Bounds, world: &World, planned: &Planned) -> Result<(), String> {
    if let Some(why) = cannot(bounds, world) {
        let refused = |world: &mut World| planned.acts.iter().any(|act| world.obey(bounds, act, 0).is_err());
        return if planned.told || refused(&mut world.clone()) {
            Ok(())
        } else {
            Err(format!("{why}, and nothing is said of it"))
        };
    }
    if !planned.settled {
        return Err("nothing happens any more, and it is not as desired".to_owned());
    }
    let wrong = |what: String| Err(format!("the plan is empty, and {what}"));
    let alive = world.alive();
    let wanted = world.replicas.max(bounds.factor) as usize;
    if world.nodes.len() != wanted || !world.founded || world.shards.len() != bounds.shards as usize + 1 {
        return wrong(format!("{} of {wanted} nodes, {} shards", world.nodes.len(), world.shards.len()));
    }
    if let Some(node) = world.nodes.iter().find(|node| alive & 1 << node.id == 0 || node.away) {
        return wrong(format!("node {} is not well", node.id));
    }
    let draining: Vec<u8> = world.nodes.iter().filter(|node| node.draining).map(|node| node.id).collect();
    if draining.iter().any(|id| *id != world.drain_wish) || world.stop != 0 {
        return wrong(format!("nodes {draining:?} drain, and the stop of node {} is reserved", world.stop));
    }
    if let Some(place) = world.places.iter().find(|place| is_left_over(world, place) || place.restart && !place.cut) {
        return wrong(format!("place {} is not as it shall be", place.index));
    }
    let holds = |shard: &Shard, id: u8| shard.replica(id).is_some();
    if let Some(shard) = world.shards.iter().find(|s| !s.arrived() || s.replicas.iter().any(|r| !r.data)) {
        return wrong(format!("{shard:?} is not whole"));
    }
    if draining.iter().any(|id| world.shards.iter().any(|shard| holds(shard, *id))) {
        return wrong("a drained node holds replicas".to_owned());
    }
    let data = || world.shards[1..].iter();
    let open = || world.nodes.iter().filter(|node| !node.draining);
    let spread = |count: &dyn Fn(u8) -> usize| {
        let most = open().map(|node| count(node.id)).max().unwrap_or(0);
        most - open().map(|node| count(node.id)).min().unwrap_or(0)
    };
    if bounds.zones == 0 && spread(&|id| data().filter(|shard| holds(shard, id)).count()) > 1 {
        return wrong("replicas are uneven".to_owned());
    }
    if bounds.zones == 0 && spread(&|id| data().filter(|shard| shard.leader == id).count()) > 1 {
        return wrong("leaders are uneven".to_owned());
    }
    Ok(())
}

/// A place that is of no use: empty, gone, or of a node that was removed and that says so.
fn is_left_over(world: &World, place: &crate::world::Place) -> bool {
    match place.disk {
        Disk::Member(id) => world.node(id).is_none() && place.is_up(),
        Disk::Blank | Disk::Gone => true,
    }
}

/// Why the desired state cannot be reached without a person, judged apart from the planner.
fn cannot(bounds: &Bounds, world: &World) -> Option<String> {
    let alive = world.alive();
    if world.shards.is_empty() {
        let founders = &world.places[..world.places.len().min(bounds.factor as usize)];
        let kept = world.kept.is_some_and(|kept| {
            founders.iter().any(|place| place.epoch != kept[place.index as usize] || place.disk == Disk::Gone)
        });
        let out_of_reach = founders.iter().any(|place| place.cut);
        return (kept || out_of_reach).then(|| "a founder is lost or out of reach".to_owned());
    }
    if let Some(at) = world.shards.iter().position(|shard| !shard.commits(alive)) {
        return Some(format!("shard {at} has no quorum"));
    }
    let dead: Vec<_> =
        world.nodes.iter().filter(|node| alive & 1 << node.id == 0 && !world.is_unaware(node.id)).collect();
    let disk_lost = |id: u8| world.on_disk() & 1 << id == 0;
    let lost = dead.iter().filter(|node| node.silence >= LOST || disk_lost(node.id)).count();
    if lost * 3 > world.nodes.len() {
        return Some(format!("{lost} of {} nodes are lost", world.nodes.len()));
    }
    if bounds.never_replaced && dead.iter().any(|node| !disk_lost(node.id)) {
        return Some("a silent node is never replaced".to_owned());
    }
    if world.places.iter().any(|place| place.cut && place.disk == Disk::Blank) {
        return Some("a place for a new node is out of reach".to_owned());
    }
    let parked = world.node(world.drain_wish).is_some_and(|node| !node.draining);
    if parked && world.nodes.iter().filter(|node| !node.draining).count() <= bounds.factor as usize {
        return Some("the node that shall drain cannot be spared".to_owned());
    }
    None
}
