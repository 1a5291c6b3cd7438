//! Steps of plans in the model's words, and what kind each is.

use crate::few::Few;

/// A step of a plan, or a part of one that the operator can be stopped after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    Mint,
    Start(u8),
    /// Keep the content of Bootstrap, with the founders' disks as they were seen.
    Keep {
        epochs: [u8; 3],
        all_blank: bool,
        /// What was kept when the operator looked: nothing else is replaced.
        instead_of: Option<[u8; 3]>,
    },
    /// Send it to the founder at a place, while it is still what is kept.
    Bootstrap {
        index: u8,
        epochs: [u8; 3],
    },
    NoteFounded,
    Join(u8),
    Create(Few<Few<u8, 3>, 4>),
    Reconfigure(Few<(u8, Few<u8, 3>), 5>),
    Transfer(Few<(u8, u8), 4>),
    Drain(u8),
    CancelDrain(u8),
    Remove(u8),
    Reserve(u8),
    LeadersAway(u8),
    Release(u8),
    /// `starting`: none of its code ran when the operator looked; `asked`: the cluster answered then.
    Restart {
        index: u8,
        starting: bool,
        asked: bool,
    },
    Retire(u8),
}

impl Act {
    /// Whether the nodes check the operator's token on it: whoever was overtaken cannot do it any more.
    pub fn is_fenced(&self) -> bool {
        !self.is_of_substrate() && !matches!(self, Self::Bootstrap { .. })
    }

    fn is_of_substrate(&self) -> bool {
        matches!(self, Self::Mint | Self::Start(_) | Self::Keep { .. } | Self::NoteFounded)
            || matches!(self, Self::Restart { .. } | Self::Retire(_))
    }

    /// Whether it takes a process or a disk away: then the operator asks the nodes whether it is still the one. While the
    /// cluster does not answer only what runs nothing goes, unasked.
    pub fn is_confirmed(&self) -> bool {
        matches!(self, Self::Restart { asked: true, .. } | Self::Retire(_))
    }

    /// Whether it moves, makes or takes away something; the others only make room for that, and end by themselves.
    pub fn is_work(&self) -> bool {
        !matches!(self, Self::Reserve(_) | Self::LeadersAway(_) | Self::Release(_))
    }

    /// With other ids of nodes.
    pub fn renamed(&self, id: &impl Fn(u8) -> u8) -> Self {
        let all = |nodes: &Few<u8, 3>| nodes.iter().map(|node| id(*node)).collect::<Few<u8, 3>>();
        match *self {
            Self::Create(shards) => Self::Create(shards.iter().map(all).collect()),
            Self::Reconfigure(moves) => {
                Self::Reconfigure(moves.iter().map(|(shard, nodes)| (*shard, all(nodes))).collect())
            }
            Self::Transfer(transfers) => {
                Self::Transfer(transfers.iter().map(|(shard, to)| (*shard, id(*to))).collect())
            }
            Self::Drain(node) => Self::Drain(id(node)),
            Self::CancelDrain(node) => Self::CancelDrain(id(node)),
            Self::Remove(node) => Self::Remove(id(node)),
            Self::Reserve(node) => Self::Reserve(id(node)),
            Self::LeadersAway(node) => Self::LeadersAway(id(node)),
            Self::Release(node) => Self::Release(id(node)),
            same => same,
        }
    }
}
