//! Tells the store to give its leaders away while the map says so for this node: it drains, or a lease keeps leaders
//! away from it; and while its disk is slow (HAZARDS H24). Such a lease ends by itself, by the wall clock.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use granary_common::NodeId;
use granary_proto::map::{ClusterMap, NodeState};
use granary_store::Event;

use crate::{drivers::clock, map, member::Member};

/// While a lease runs the clock is read at least so often, for it may be set.
const LOOK: Duration = Duration::from_secs(1);
/// How often the disk is looked at.
const LOOK_AT_DISK: Duration = Duration::from_millis(250);
/// A write of the log that takes longer than this makes a disk slow: several election timeouts.
const SLOW: Duration = Duration::from_secs(2);
/// A disk that was slow is not trusted with leaders for so long.
const DISTRUST: Duration = Duration::from_secs(15);

pub(super) async fn run(member: Arc<Member>) {
    let mut maps = member.map.subscribe();
    let mut leaving = member.meta.leaving();
    let mut told = false;
    let mut disk = Disk::default();
    loop {
        let wish = wish(&maps.borrow_and_update(), member.id(), clock::unix_ms());
        let slow = disk.is_slow(member.drivers.log.writing_for(), Instant::now());
        let away = *leaving.borrow_and_update() || wish != Wish::Stay || slow;
        if away != told {
            told = away;
            member.store.event(Event::LeadersAway { away });
        }
        let lease_end = async {
            match wish {
                Wish::AwayFor(left) => tokio::time::sleep(left.min(LOOK)).await,
                Wish::Stay | Wish::Away => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = maps.changed() => if changed.is_err() { return },
            changed = leaving.changed() => if changed.is_err() { return },
            () = lease_end => {}
            () = tokio::time::sleep(LOOK_AT_DISK) => {}
        }
    }
}

/// What is remembered of the disk.
#[derive(Debug, Default)]
struct Disk {
    slow_at: Option<Instant>,
}

impl Disk {
    /// Whether it is slow now or was lately, by how long the write under way has taken.
    fn is_slow(&mut self, writing_for: Duration, now: Instant) -> bool {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Stay,
    Away,
    AwayFor(Duration),
}

fn wish(map: &ClusterMap, id: NodeId, unix_ms: u64) -> Wish {
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
    use crate::meta::view::fixture::map;

    #[test]
    fn a_slow_disk_keeps_leaders_away_for_a_while() {
        let (mut disk, now) = (Disk::default(), Instant::now());
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
