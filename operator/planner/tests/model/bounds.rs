//! How far each world goes: its size, what may happen to it and how often. The search within them is complete.

use crate::{broken::Broken, world::Left};

/// One bounded world.
#[derive(Clone, Debug)]
pub struct Bounds {
    pub name: &'static str,
    /// Copies of each shard: 1 or 3.
    pub factor: u8,
    /// Data shards.
    pub shards: u8,
    /// Nodes of the settled cluster it begins with; 0: it begins before there is anything.
    pub nodes: u8,
    /// Node counts that are wished for. One of them is the first.
    pub replicas: &'static [u8],
    /// Failure domains: places are in them in turn. 0: none are known.
    pub zones: u8,
    /// Places that are given up keep their disks, and so their indexes.
    pub keeps_disks: bool,
    /// `replaceAfter` is Never.
    pub never_replaced: bool,
    /// Reservations of stops do not end by themselves: a clock that was set back makes them last for as long as one likes.
    pub holds_last: bool,
    /// Whether any voter that may lead a shard is tried, rather than the first.
    pub any_leader: bool,
    /// What may happen.
    pub events: Events,
    pub left: Left,
    pub broken: Broken,
}

/// Kinds of events that may happen, as often as `left` allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Events {
    /// Wish: every process is to be started anew.
    pub restarts: bool,
    /// Wish: a person has a node drained, and takes it back.
    pub drains: bool,
    /// Wish: a place moves to another zone.
    pub moves: bool,
    /// Fault: a node is cut off (and comes back whenever it likes).
    pub cuts: bool,
    /// Fault: a process stops.
    pub kills: bool,
    /// Fault: a disk is gone.
    pub losses: bool,
    /// Fault: a disk is emptied.
    pub wipes: bool,
}

impl Events {
    pub const NONE: Self =
        Self { restarts: false, drains: false, moves: false, cuts: false, kills: false, losses: false, wipes: false };
}

/// Three nodes, three copies, one shard beside the meta shard, and nothing that happens.
const THREE: Bounds = Bounds {
    name: "",
    factor: 3,
    shards: 1,
    nodes: 3,
    replicas: &[3],
    zones: 0,
    keeps_disks: false,
    never_replaced: false,
    holds_last: false,
    any_leader: false,
    events: Events::NONE,
    left: Left { wishes: 0, faults: 0, blurs: 0, delays: 0, takeovers: 0 },
    broken: Broken::Nothing,
};
const ONE: Bounds = Bounds { factor: 1, nodes: 1, replicas: &[1], ..THREE };
const FOUR: Bounds = Bounds { nodes: 4, replicas: &[4, 3], ..THREE };

impl Bounds {
    const fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    const fn shards(self, shards: u8) -> Self {
        Self { shards, ..self }
    }

    const fn from(self, nodes: u8, replicas: &'static [u8]) -> Self {
        Self { nodes, replicas, ..self }
    }

    const fn with(self, events: Events) -> Self {
        Self { events, ..self }
    }

    /// Wishes, faults, and what befalls operators: blurred views, long rounds, takeovers.
    const fn at_most(self, wishes: u8, faults: u8, [blurs, delays, takeovers]: [u8; 3]) -> Self {
        Self { left: Left { wishes, faults, blurs, delays, takeovers }, ..self }
    }
}

const CUTS: Events = Events { cuts: true, ..Events::NONE };
const RESTARTS: Events = Events { restarts: true, ..Events::NONE };
const ALL_FAULTS: Events = Events { cuts: true, kills: true, losses: true, wipes: true, ..Events::NONE };

/// What CI explores, in about a minute of one processor.
pub fn small() -> Vec<Bounds> {
    let drains = Events { drains: true, ..Events::NONE };
    let moves = Events { moves: true, ..Events::NONE };
    let cuts_and_losses = Events { losses: true, ..CUTS };
    vec![
        ONE.named("founding, 1 copy").from(0, &[1, 2]).with(ALL_FAULTS).at_most(1, 1, [1, 1, 1]),
        THREE.named("founding, 3 copies").from(0, &[3]).with(ALL_FAULTS).at_most(0, 1, [1, 1, 1]),
        ONE.named("scaling, 1 copy").shards(2).from(1, &[1, 2, 3]).at_most(2, 0, [1, 1, 1]),
        ONE.named("scaling and faults, 1 copy").shards(2).from(2, &[2, 1, 3]).with(ALL_FAULTS).at_most(1, 1, [1, 1, 1]),
        ONE.named("faults, 1 copy").with(ALL_FAULTS).at_most(0, 1, [1, 1, 1]),
        THREE.named("scaling, 3 copies").shards(2).from(3, &[3, 4, 5]).at_most(2, 0, [1, 1, 1]),
        THREE.named("scaling, 4 shards").shards(4).from(3, &[3, 4, 5]).at_most(1, 0, [0, 1, 1]),
        THREE.named("faults").with(ALL_FAULTS).at_most(0, 1, [1, 1, 1]),
        FOUR.named("two faults").from(4, &[4]).with(cuts_and_losses).at_most(0, 2, [0, 0, 0]),
        FOUR.named("scaling and faults").with(ALL_FAULTS).at_most(1, 1, [0, 1, 1]),
        FOUR.named("moves and cuts").shards(2).with(CUTS).at_most(1, 1, [0, 0, 0]),
        THREE.named("restarts").with(RESTARTS).at_most(1, 0, [1, 1, 1]),
        Bounds { holds_last: true, ..THREE.named("restarts and faults, held stops") }
            .with(Events { restarts: true, ..ALL_FAULTS })
            .at_most(1, 1, [0, 0, 0]),
        THREE.named("restarts and cuts").with(Events { restarts: true, ..CUTS }).at_most(1, 1, [0, 1, 1]),
        FOUR.named("drains").with(drains).at_most(2, 0, [0, 1, 1]),
        Bounds { zones: 3, ..FOUR.named("zones").shards(2).with(moves).at_most(2, 0, [0, 1, 1]) },
        Bounds { keeps_disks: true, never_replaced: true, ..FOUR.named("kept disks, never replaced") }
            .with(ALL_FAULTS)
            .at_most(1, 1, [0, 1, 1]),
        Bounds { any_leader: true, ..FOUR.named("any leader").with(ALL_FAULTS).at_most(1, 1, [0, 0, 0]) },
    ]
}

/// What is explored by hand, beside the small ones: `GRANARY_MODEL=large`.
pub fn large() -> Vec<Bounds> {
    let mut all = small();
    all.extend([
        FOUR.named("two faults of any kind").from(4, &[4]).with(ALL_FAULTS).at_most(0, 2, [0, 0, 0]),
        THREE.named("restarts and faults").with(Events { restarts: true, ..ALL_FAULTS }).at_most(1, 1, [0, 1, 1]),
        THREE.named("there and back, 4 shards").shards(4).from(3, &[3, 4, 5]).at_most(2, 0, [0, 1, 1]),
        THREE.named("a fault while 2 shards scale").shards(2).from(3, &[3, 4, 5]).with(ALL_FAULTS).at_most(
            1,
            1,
            [0, 0, 0],
        ),
        THREE.named("faults with 4 shards").shards(4).from(5, &[5]).with(CUTS).at_most(0, 1, [0, 0, 0]),
    ]);
    all
}
