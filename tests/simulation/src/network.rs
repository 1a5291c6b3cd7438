//! The network: what is cut, how slow and how bad it is. Hosts are the places, the operator's machine, and the clients'.

use std::collections::{BTreeMap, BTreeSet};

use crate::{rng::Rng, world::MS};

/// Where a process runs, as the network sees it.
pub type Host = usize;
/// The operator's.
pub const OPERATOR: Host = 1_000;
/// Where clients begin: each is a machine of its own.
pub const CLIENTS: Host = 2_000;

/// Chances are in millionths.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// A message is lost.
    pub drop: u64,
    /// It comes twice.
    pub duplicate: u64,
    /// It overtakes others.
    pub reorder: u64,
    /// Average time on its way.
    pub delay_ns: u64,
}

impl Default for Weather {
    fn default() -> Self {
        Self { drop: 0, duplicate: 0, reorder: 0, delay_ns: MS / 2 }
    }
}

/// See the module.
#[derive(Default)]
pub struct Network {
    /// Between all hosts.
    pub weather: Weather,
    /// Pairs (from, to) between which nothing passes.
    pub cut: BTreeSet<(Host, Host)>,
    /// When the last message of a stream arrives: (from, to, lane).
    last: BTreeMap<(Host, Host, u8), u64>,
}

/// What becomes of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never arrives.
    Lost,
    /// It arrives at these times.
    Arrives(Vec<u64>),
}

impl Network {
    /// Whether anything passes now.
    pub fn passes(&self, from: Host, to: Host) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Draws what becomes of a message that leaves now on a stream.
    pub fn send(&mut self, rng: &mut Rng, now: u64, (from, to, lane): (Host, Host, u8)) -> Fate {
        if !self.passes(from, to) || rng.hits(self.weather.drop) {
            return Fate::Lost;
        }
        let at = now + rng.between(self.weather.delay_ns / 4, self.weather.delay_ns * 2);
        let mut times = Vec::new();
        if rng.hits(self.weather.reorder) {
            times.push(at + rng.between(0, self.weather.delay_ns * 8));
        } else {
            let last = self.last.entry((from, to, lane)).or_default();
            *last = at.max(*last);
            times.push(*last);
        }
        if rng.hits(self.weather.duplicate) {
            times.push(at + rng.between(0, self.weather.delay_ns * 8));
        }
        Fate::Arrives(times)
    }
}
