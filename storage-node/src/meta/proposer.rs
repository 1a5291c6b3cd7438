//! On the meta shard's leader: writes what groups and nodes said of themselves into the map. One entry at a time.

use std::{sync::Arc, time::Duration};

use granary_proto::storage::meta_command::Operation;
use tracing::debug;

use super::{lead::done, news};
use crate::{member::Member, rhythm};

/// Reports that come within this time share an entry.
const GATHER: Duration = Duration::from_millis(20);
/// Also the longest pause between two looks of a leader at itself; see [`super::view::View::tick`].
const LOOK: Duration = Duration::from_millis(500);
/// Pause after an entry that was not made.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for the entry to show in the map here; then it may be made again, which changes nothing.
const SHOW: Duration = Duration::from_secs(1);

pub(super) async fn run(member: Arc<Member>) {
    loop {
        // Either way it looks: a word may have been heard while the last entry was under way.
        let _ = tokio::time::timeout_at(rhythm::next(LOOK), member.meta.heard()).await;
        if !member.meta.leads() {
            continue;
        }
        tokio::time::sleep(GATHER).await;
        let reports = member.meta.with_view(|view, map, now| news::reports(map, view, now));
        if news::is_empty(&reports) || !member.meta.leads() {
            continue;
        }
        match member.meta.propose(Operation::Reports(reports)).await.and_then(done) {
            Ok(version) => {
                let mut maps = member.map.subscribe();
                // Late is no harm: see SHOW.
                let _ = tokio::time::timeout(SHOW, maps.wait_for(|map| map.version >= version)).await;
            }
            Err(status) => {
                debug!(%status, "reports could not be written to the map");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
