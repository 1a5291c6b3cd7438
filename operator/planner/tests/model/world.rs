//! What there is: places with disks and processes as a substrate has them, nodes and shards as the meta shard's leader
//! holds them. Only what is true at a moment; how it changes is in `groups`, `orders`, `places`.

use crate::few::Few;

/// Most places, and most members of the map, that a bounded world has; one more is told as a failure.
pub const MOST: usize = 8;
/// ms of silence at each level that a plan can tell apart: heard, just now unheard, silent, lost, lost beyond the wait
/// for a replacement.
pub const SILENCE_MS: [u64; 5] = [0, 5_000, 15_000, 300_000, 365_000];
/// The level from which a node counts as silent (10 s).
pub const SILENT: u8 = 2;
/// The level from which a node counts as lost (`replaceAfter`, 300 s).
pub const LOST: u8 = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Disk {
    #[default]
    Blank,
    Member(u8),
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Process {
    #[default]
    Starting,
    Running,
    Stopped,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    pub index: u8,
    pub disk: Disk,
    pub process: Process,
    /// Neither the operator nor any node reaches it.
    pub cut: bool,
    /// Its process is to be started anew.
    pub restart: bool,
    pub zone: u8,
    /// Id that the meta shard gave to this empty disk, which did not hear the answer; 0: none.
    pub admitted: u8,
    /// Which empty disk it is or was: raised by a wipe. The uuid of a real one.
    pub epoch: u8,
}

impl Place {
    /// Whether its process runs and is reached.
    pub fn is_up(&self) -> bool {
        self.process == Process::Running && !self.cut
    }
}

/// A member of the map. Id 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Node {
    pub id: u8,
    /// Index of the place it joined from: its name.
    pub name: u8,
    pub draining: bool,
    /// Index into [`SILENCE_MS`].
    pub silence: u8,
    /// Whether the meta shard's leader has heard it since it leads.
    pub heard: bool,
    pub away: bool,
    pub zone: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    #[default]
    Learner,
    Voter,
    /// Votes in the new half of a joint change only.
    Incoming,
    /// Votes in the old half only.
    Outgoing,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Replica {
    pub node: u8,
    pub role: Role,
    /// Holds, on its disk, every entry that was ever acknowledged.
    pub data: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shard {
    /// 0: none.
    pub leader: u8,
    pub replicas: Few<Replica, 7>,
    pub target: Few<u8, 3>,
}

/// What may still happen to it from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Left {
    /// Changes of the spec or of a person's wishes.
    pub wishes: u8,
    /// Nodes cut off, processes stopped, disks lost or emptied.
    pub faults: u8,
    /// Rounds that see less than there is.
    pub blurs: u8,
    /// Rounds that take long: the world goes on between two of their steps, or between look and step.
    pub delays: u8,
    /// Operators that begin while another one is in the middle of a round.
    pub takeovers: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct World {
    pub minted: bool,
    pub founded: bool,
    /// Epochs of the founders' disks, once the content of Bootstrap was kept.
    pub kept: Option<[u8; 3]>,
    /// The content that the first founder accepted.
    pub content: Option<[u8; 3]>,
    pub places: Few<Place, MOST>,
    /// Bits of indexes that were given up and whose disks are kept.
    pub taken: u32,
    pub nodes: Few<Node, MOST>,
    pub next_node: u8,
    /// The meta shard first; empty before a quorum of founders has accepted.
    pub shards: Few<Shard, 5>,
    /// Node whose stop is reserved; 0: none.
    pub stop: u8,
    pub replicas: u8,
    /// Node that a person wants drained; 0: none.
    pub drain_wish: u8,
    pub left: Left,
}

impl World {
    /// Bits of the ids of nodes whose process runs and is reached.
    pub fn alive(&self) -> u32 {
        let up = self.places.iter().filter(|place| place.is_up());
        up.fold(0, |bits, place| if let Disk::Member(id) = place.disk { bits | 1 << id } else { bits })
    }

    /// Bits of the ids of nodes whose disks exist.
    pub fn on_disk(&self) -> u32 {
        self.places.iter().fold(0, |bits, place| if let Disk::Member(id) = place.disk { bits | 1 << id } else { bits })
    }

    pub fn node(&self, id: u8) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    pub fn node_mut(&mut self, id: u8) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.id == id)
    }

    pub fn place(&self, index: u8) -> Option<&Place> {
        self.places.iter().find(|place| place.index == index)
    }

    pub fn place_mut(&mut self, index: u8) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.index == index)
    }

    /// Whether the meta shard has a leader.
    pub fn answers(&self) -> bool {
        self.shards.first().is_some_and(|meta| meta.leader != 0)
    }

    /// Whether this member waits, unheard, to be asked to join again.
    pub fn is_unaware(&self, id: u8) -> bool {
        self.places.iter().any(|place| place.admitted == id && place.is_up())
    }

    /// Whether the empty disk there is the one that the founding waits for.
    pub fn is_awaited(&self, place: &Place) -> bool {
        let kept = self.kept.and_then(|kept| kept.get(place.index as usize).copied());
        place.disk == Disk::Blank && kept == Some(place.epoch)
    }

    /// What follows from a change at once: who is up is heard, what was on a disk that is gone is gone, a leader without
    /// a quorum is none, and whoever does not hear a leader that can commit misses what it commits.
    pub fn settle(&mut self) {
        let (alive, on_disk) = (self.alive(), self.on_disk());
        for node in self.nodes.iter_mut().filter(|node| alive & 1 << node.id != 0) {
            (node.silence, node.heard) = (0, true);
        }
        for shard in self.shards.iter_mut() {
            for replica in shard.replicas.iter_mut() {
                replica.data &= on_disk & 1 << replica.node != 0;
            }
            if shard.leader != 0 && !shard.can_lead(shard.leader, alive) {
                shard.leader = 0;
            }
            if shard.leader != 0 && shard.commits(alive) {
                for replica in shard.replicas.iter_mut() {
                    replica.data &= alive & 1 << replica.node != 0;
                }
            }
        }
    }
}
