//! What still has to move, how fast it moves and when it is done.

use std::collections::VecDeque;

use granary_crds::status::Migration;
use granary_planner::{
    observed::{Cluster, Role, Shard},
    plan::{Plan, Step},
};

/// Time over which the rate is taken, in ms.
const WINDOW_MS: u64 = 10_000;
/// Shortest time from which a rate is said, in ms.
const SHORTEST_MS: u64 = 500;
/// Most samples kept.
const MAX_SAMPLES: usize = 256;

/// Replicas that are not where they shall be, by what was seen and by what the plan adds; `None`: none.
pub fn left(plan: &Plan, cluster: Option<&Cluster>, bytes_per_second: Option<u64>) -> Option<Migration> {
    let (moves, bytes) = counts(plan, cluster?);
    if moves == 0 {
        return None;
    }
    let rate = bytes_per_second.filter(|rate| *rate > 0);
    Some(Migration {
        moves_left: i32::try_from(moves).unwrap_or(i32::MAX),
        bytes_left: signed(bytes),
        bytes_per_second: bytes_per_second.map(signed),
        seconds_left: rate.map(|rate| signed(bytes.div_ceil(rate))),
    })
}

/// (replicas to move, bytes to copy).
pub fn counts(plan: &Plan, cluster: &Cluster) -> (u64, u64) {
    let planned: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|planned| match &planned.step {
            Step::Reconfigure { moves } => Some(moves),
            _ => None,
        })
        .flatten()
        .collect();
    cluster.shards.iter().fold((0, 0), |(moves, bytes), shard| {
        let target =
            planned.iter().find(|planned| planned.shard == shard.id).map_or(&shard.target, |planned| &planned.nodes);
        let missing = missing(shard, target);
        (moves + missing, bytes + missing * shard.bytes)
    })
}

/// Nodes of the target that have no voter that has caught up. A shard without a fresh report counts as it was.
fn missing(shard: &Shard, target: &[u64]) -> u64 {
    let there = |node: &u64| {
        let mut replicas = shard.replicas.iter();
        replicas.any(|replica| replica.node == *node && replica.role == Role::Voter)
    };
    target.iter().map(|node| u64::from(!there(node))).sum()
}

/// The rate at which bytes become fewer.
#[derive(Debug, Default)]
pub struct Rate {
    /// (Unix ms, bytes copied until then), oldest first.
    samples: VecDeque<(u64, u64)>,
    /// Since the first sample.
    copied: u64,
    /// Of the last sample.
    last_left: u64,
}

impl Rate {
    /// Takes what is left now. More than before (a new move) counts as nothing copied.
    pub fn sample(&mut self, now_ms: u64, bytes_left: u64) {
        self.copied += self.last_left.saturating_sub(bytes_left);
        self.last_left = bytes_left;
        if bytes_left == 0 {
            self.samples.clear();
            return;
        }
        self.samples.push_back((now_ms, self.copied));
        while self.samples.len() > MAX_SAMPLES
            || self.samples.front().is_some_and(|(at, _)| at + WINDOW_MS < now_ms && self.samples.len() > 2)
        {
            self.samples.pop_front();
        }
    }

    /// Bytes a second; `None` before it can be told.
    pub fn bytes_per_second(&self) -> Option<u64> {
        let ((from, first), (to, last)) = (self.samples.front()?, self.samples.back()?);
        let ms = to.saturating_sub(*from);
        (ms >= SHORTEST_MS).then(|| last.saturating_sub(*first).saturating_mul(1000) / ms)
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
