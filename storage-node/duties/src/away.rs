//! When leaders shall leave a node: it drains, a lease keeps them away from it, or its disk is slow (HAZARDS H24).

use std::time::{Duration, Instant};

use granary_common::NodeId;
use granary_proto::map::{ClusterMap, NodeState};

use crate::map;

/// A write of the log that takes longer than this makes a disk slow: several election timeouts.
const SLOW: Duration = Duration::from_secs(2);
/// A disk that was slow is not trusted with leaders for so long.
const DISTRUST: Duration = Duration::from_secs(15);

/// What is remembered of the disk.
#[derive(Debug, Default)]
pub struct DiskWatch {
    slow_at: Option<Instant>,
}

impl DiskWatch {
    /// Whether it is slow now or was lately, by how long the write under way has taken.
    pub fn is_slow(&mut self, writing_for: Duration, now: Instant) -> bool {
        let was = self.slow_at.is_some_and(|at| now.saturating_duration_since(at) < DISTRUST);
        if writing_for >= SLOW {
            if !was {
                tracing::warn!(
                    ms = writing_for.as_millis(),
                    "the disk is slow: a write of the log is not done yet, and leaders move to other nodes"
                );
            }
            self.slow_at = Some(now);
            return true;
        }
        was
    }
}

/// Where leaders shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Here too.
    Stay,
    /// Elsewhere.
    Away,
    /// Elsewhere, for this long.
    AwayFor(Duration),
}

/// What the map wants of the leaders on node `id` at `unix_ms` by its wall clock: elsewhere while it drains, or while a
/// lease says so.
pub fn wish(map: &ClusterMap, id: NodeId, unix_ms: u64) -> Wish {
    match map::node(map, id) {
        Some(node) if node.state() == NodeState::Draining => Wish::Away,
        Some(node) if node.leaders_away_until_ms > unix_ms => {
            Wish::AwayFor(Duration::from_millis(node.leaders_away_until_ms - unix_ms))
        }
        _ => Wish::Stay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::map;

    #[test]
    fn a_slow_disk_keeps_leaders_away_for_a_while() {
        let (mut disk, now) = (DiskWatch::default(), Instant::now());
        assert!(!disk.is_slow(SLOW - Duration::from_millis(1), now));
        assert!(disk.is_slow(SLOW, now));
        assert!(disk.is_slow(Duration::ZERO, now + DISTRUST - Duration::from_millis(1)));
        assert!(!disk.is_slow(Duration::ZERO, now + DISTRUST));
    }

    #[test]
    fn leaders_go_away_while_the_node_drains_or_a_lease_says_so() {
        let mut map = map(2, &[]);
        assert_eq!(wish(&map, NodeId(2), 1000), Wish::Stay);
        map.nodes[1].leaders_away_until_ms = 1500;
        assert_eq!(wish(&map, NodeId(2), 1000), Wish::AwayFor(Duration::from_millis(500)));
        assert_eq!(wish(&map, NodeId(2), 1500), Wish::Stay, "the lease ends by itself");
        assert_eq!(wish(&map, NodeId(1), 1000), Wish::Stay, "it is about one node");
        map.nodes[1].set_state(NodeState::Draining);
        assert_eq!(wish(&map, NodeId(2), 9999), Wish::Away);
    }
}
