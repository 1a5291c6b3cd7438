//! States as bytes, and bytes as a fingerprint of 128 bits: two states are the same when theirs are. With some ten
//! million states the chance that two different ones are taken for one is below 1e-24.
//!
//! The one symmetry that is used: node ids are only compared, by everybody (once a cluster is founded), so a state is
//! written with the ranks of its ids instead of the ids. Ids that only grow then do not make states differ, and a loop
//! that makes new nodes for ever is found as a cycle. Places and shards are not interchangeable: planners choose by them.

use std::{collections::hash_map::DefaultHasher, hash::Hasher as _};

use crate::{
    acts::Act,
    operator::{Operator, Pending},
    view::Blur,
    world::{Disk, Place, World},
};

/// Which node ids there are, and so their ranks.
pub struct Ids {
    bits: u32,
    plain: bool,
}

impl Ids {
    /// Of all that a view shows.
    pub fn of_world(world: &World, places: &[Place]) -> Self {
        let mut bits = 1 | 1 << world.stop | 1 << world.drain_wish;
        let mut disk = |place: &Place| {
            if let Disk::Member(id) = place.disk {
                bits |= 1 << id;
            }
        };
        world.places.iter().for_each(&mut disk);
        places.iter().for_each(&mut disk);
        world.nodes.iter().for_each(|node| bits |= 1 << node.id);
        for shard in world.shards.iter() {
            shard.replicas.iter().for_each(|replica| bits |= 1 << replica.node);
            shard.target.iter().for_each(|node| bits |= 1 << node);
        }
        Self::new(bits, world)
    }

    /// Of all that a state holds.
    pub fn of_state(world: &World, operator: &Operator, old: Option<&Pending>) -> Self {
        let places: &[Place] = if let Operator::Looked(places) = operator { places } else { &[] };
        let bits = std::cell::Cell::new(Self::of_world(world, places).bits);
        let busy = if let Operator::Busy(pending) = operator { Some(pending) } else { None };
        for act in busy.into_iter().chain(old).flat_map(Pending::left) {
            act.renamed(&|id| {
                bits.set(bits.get() | 1 << id);
                id
            });
        }
        Self::new(bits.get(), world)
    }

    fn new(bits: u32, world: &World) -> Self {
        // Founders get their ids by their places.
        let plain = world.shards.is_empty() || (bits & (bits + 1)) == 0;
        Self { bits, plain }
    }

    /// Whether ranks are the ids.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    pub fn rank(&self, id: u8) -> u8 {
        if self.plain { id } else { (self.bits & ((1 << id) - 1)).count_ones() as u8 }
    }

    pub fn concrete(&self, rank: u8) -> u8 {
        if self.plain {
            return rank;
        }
        let mut ids = (0..32).filter(|id| self.bits & 1 << id != 0);
        ids.nth(rank as usize).unwrap_or(0)
    }
}

/// Writes states.
#[derive(Default)]
pub struct Pen(Vec<u8>);

/// The fingerprint of what is written.
pub fn fingerprint(write: impl FnOnce(&mut Pen)) -> u128 {
    let mut pen = Pen::default();
    write(&mut pen);
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(&pen.0);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

impl Pen {
    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.0.push(items.len() as u8);
        items.iter().for_each(|item| write(self, item));
    }

    /// Everything that a plan can depend on.
    pub fn view(&mut self, world: &World, places: &[Place], blur: Blur, ids: &Ids) {
        let blur = match blur {
            Blur::Nothing => [0, 0],
            Blur::NoAnswer => [1, 0],
            Blur::DiskUnknown(at) => [2, at],
            Blur::DiskStale(at) => [3, at],
            Blur::ProcessUnknown(at) => [4, at],
            Blur::ShardSilent(at) => [5, at],
        };
        let founding = world.shards.is_empty() || !world.founded;
        self.0.extend(blur);
        self.places(world, places, ids, founding);
        self.cluster(world, ids, founding);
    }

    /// A whole state.
    pub fn state(&mut self, world: &World, operator: &Operator, old: Option<&Pending>, ids: &Ids) {
        let left = world.left;
        self.0.extend([left.wishes, left.faults, left.blurs, left.delays, left.takeovers]);
        let busy = if let Operator::Busy(pending) = operator { Some(pending) } else { None };
        let founds = |act: &Act| matches!(act, Act::Keep { .. } | Act::Bootstrap { .. });
        let founding = world.shards.is_empty() || !world.founded;
        let founding = founding || busy.into_iter().chain(old).flat_map(Pending::left).any(founds);
        self.places(world, &world.places, ids, founding);
        self.cluster(world, ids, founding);
        match operator {
            Operator::Idle => self.0.push(0),
            Operator::Looked(places) => {
                self.0.push(1);
                self.places(world, places, ids, founding);
            }
            Operator::Busy(pending) => {
                self.0.push(2);
                self.pending(pending, ids);
            }
        }
        self.list(old.as_slice(), |pen, pending| pen.pending(pending, ids));
    }

    /// Which disk a founder's is makes a difference while somebody may still found. Later it is only whether an empty disk
    /// is still the one that was seen, and whom the meta shard takes it for.
    fn places(&mut self, world: &World, places: &[Place], ids: &Ids, founding: bool) {
        self.list(places, |pen, place| {
            let disk = match place.disk {
                Disk::Blank if world.is_awaited(place) => 254,
                Disk::Blank => 253,
                Disk::Gone => 252,
                Disk::Member(id) => ids.rank(id),
            };
            let same = world.place(place.index).filter(|now| place.disk == Disk::Blank && now.epoch == place.epoch);
            let flags = u8::from(place.cut) | u8::from(place.restart) << 1 | u8::from(same.is_some()) << 2;
            let epoch = if founding { place.epoch } else { 0 };
            let admitted = same.map_or(0, |now| ids.rank(now.admitted));
            pen.0.extend([place.index, disk, place.process as u8, flags | place.zone << 3, epoch, admitted]);
        });
    }

    fn cluster(&mut self, world: &World, ids: &Ids, founding: bool) {
        self.0.push(u8::from(world.minted) | u8::from(world.founded) << 1);
        if founding {
            self.list(world.kept.as_slice(), |pen, kept| pen.0.extend(kept));
            self.list(world.content.as_slice(), |pen, content| pen.0.extend(content));
        }
        self.0.extend(world.taken.to_le_bytes());
        self.0.extend([ids.rank(world.stop), world.replicas, ids.rank(world.drain_wish)]);
        self.list(&world.nodes, |pen, node| {
            let flags =
                u8::from(node.draining) | u8::from(node.away) << 1 | u8::from(node.heard) << 2 | node.silence << 3;
            pen.0.extend([ids.rank(node.id), node.name, flags, node.zone]);
        });
        self.list(&world.shards, |pen, shard| {
            pen.0.push(ids.rank(shard.leader));
            pen.list(&shard.replicas, |pen, replica| {
                pen.0.extend([ids.rank(replica.node), replica.role as u8 | u8::from(replica.data) << 4]);
            });
            pen.list(&shard.target, |pen, node| pen.0.push(ids.rank(*node)));
        });
    }

    fn pending(&mut self, pending: &Pending, ids: &Ids) {
        let left = pending.left();
        // What no step that is left looks at makes no difference.
        let moves = left.iter().any(|act| matches!(act, Act::Reconfigure(_)));
        let restarts = left.iter().any(|act| matches!(act, Act::Restart { .. }));
        self.0.push(if moves { pending.outdated } else { 0 });
        self.0.push(u8::from(restarts && pending.raced) | u8::from(pending.overtaken) << 1);
        self.list(left, |pen, act| pen.act(&act.renamed(&|id| ids.rank(id))));
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Mint => self.0.push(0),
            Act::Start(index) => self.0.extend([1, *index]),
            Act::Keep { epochs, all_blank, instead_of } => {
                self.0.extend([2, u8::from(*all_blank)]);
                self.0.extend(epochs);
                self.list(instead_of.as_slice(), |pen, epochs| pen.0.extend(epochs));
            }
            Act::Bootstrap { index, epochs } => {
                self.0.extend([3, *index]);
                self.0.extend(epochs);
            }
            Act::NoteFounded => self.0.push(4),
            Act::Join(index) => self.0.extend([5, *index]),
            Act::Create(shards) => {
                self.0.push(6);
                self.list(shards, |pen, nodes| pen.0.extend(nodes.iter()));
            }
            Act::Reconfigure(moves) => {
                self.0.push(7);
                self.list(moves, |pen, (shard, nodes)| {
                    pen.0.push(*shard);
                    pen.0.extend(nodes.iter());
                });
            }
            Act::Transfer(transfers) => {
                self.0.push(8);
                self.list(transfers, |pen, (shard, to)| pen.0.extend([*shard, *to]));
            }
            Act::Drain(id) => self.0.extend([9, *id]),
            Act::CancelDrain(id) => self.0.extend([10, *id]),
            Act::Remove(id) => self.0.extend([11, *id]),
            Act::Reserve(id) => self.0.extend([12, *id]),
            Act::LeadersAway(id) => self.0.extend([13, *id]),
            Act::Release(id) => self.0.extend([14, *id]),
            Act::Restart { index, starting, asked } => {
                self.0.extend([15, *index, u8::from(*starting), u8::from(*asked)]);
            }
            Act::Retire(index) => self.0.extend([16, *index]),
        }
    }
}
