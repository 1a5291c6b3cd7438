//! Tells the store to give its leaders away while the map says so for this node: it drains, or a lease keeps leaders
//! away from it; and which nodes are too slow to lead: this one by its own watchdog, others by their own word (HAZARDS H24).
//! Such a lease ends by itself, by the wall clock.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use granary_common::NodeId;
use granary_duties::away::{Wish, sent_away, wish};
use granary_proto::map::ClusterMap;
use granary_store::Event;

use crate::{drivers::clock, member::Member, rhythm};

/// While a lease runs the clock is read at least so often, for it may be set.
const LOOK: Duration = Duration::from_secs(1);
/// How often the watchdog's verdict is looked at.
const LOOK_AT_HEALTH: Duration = Duration::from_millis(250);
/// From when the watchdog gave its verdict until leaders are handed over: where all disks are slow, all have said so by
/// then, and nobody hands over.
const OTHERS_MAY_SPEAK: Duration = Duration::from_millis(500);

pub(super) async fn run(member: Arc<Member>) {
    let mut maps = member.map.subscribe();
    let mut leaving = member.meta.leaving();
    let mut told = false;
    let mut told_slow = BTreeSet::new();
    let mut says_slow = false;
    let mut slow_since = None;
    loop {
        let wish = wish(&maps.borrow_and_update(), member.id(), clock::unix_ms());
        let away = *leaving.borrow_and_update() || wish != Wish::Stay;
        if away != told {
            told = away;
            member.store.event(Event::LeadersAway { away });
        }
        let slow_here = member.drivers.health.away();
        let says = slow_here || *leaving.borrow();
        member.peers.set_slow_here(says);
        if says != says_slow {
            // Every frame says so; of groups at rest there are few.
            member.store.event(Event::WakeAll);
            says_slow = says;
        }
        slow_since = slow_here.then(|| slow_since.unwrap_or_else(Instant::now));
        let counts = slow_since.is_some_and(|since| since.elapsed() >= OTHERS_MAY_SPEAK);
        let slow = not_to_lead(&member, &maps.borrow(), counts);
        if slow != told_slow {
            member.store.event(Event::SlowNodes { nodes: slow.clone() });
            told_slow = slow;
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
            () = rhythm::rest(LOOK_AT_HEALTH) => {}
        }
    }
}

/// This node by its watchdog's verdict, when that counts; others by what they say themselves, or by the map.
fn not_to_lead(member: &Member, map: &ClusterMap, counts: bool) -> BTreeSet<NodeId> {
    let own = counts.then(|| member.id());
    let others = member.peers.slow_nodes().into_iter().chain(sent_away(map, clock::unix_ms()));
    others.filter(|node| *node != member.id()).chain(own).collect()
}
