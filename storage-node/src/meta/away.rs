//! Tells the store to give its leaders away while the map says so for this node: it drains, or a lease keeps leaders
//! away from it; and while its disk is slow (HAZARDS H24). Such a lease ends by itself, by the wall clock.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use granary_duties::away::{DiskWatch, Wish, wish};
use granary_store::Event;

use crate::{drivers::clock, member::Member};

/// While a lease runs the clock is read at least so often, for it may be set.
const LOOK: Duration = Duration::from_secs(1);
/// How often the disk is looked at.
const LOOK_AT_DISK: Duration = Duration::from_millis(250);

pub(super) async fn run(member: Arc<Member>) {
    let mut maps = member.map.subscribe();
    let mut leaving = member.meta.leaving();
    let mut told = false;
    let mut disk = DiskWatch::default();
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
