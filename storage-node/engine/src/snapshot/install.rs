//! Puts a received snapshot in place of a shard's rows, so that a crash leaves the old state, the new state, or a marker
//! that says to empty the shard and ask again (HAZARDS H10).

use granary_common::{ShardId, SlotRange};
use granary_machine::shard;
use granary_proto::storage::ShardState;

use super::{Received, SnapshotError};
use crate::{DataStore, EngineError};

/// How far an install has come; each is durable before the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallStep {
    /// The marker is there, the old rows and the old state are gone.
    Emptied,
    /// The files are in the store. The marker still says that they mean nothing.
    Ingested,
    /// The shard's state is there, the marker is gone.
    Done,
}

/// Replaces all rows of the snapshot's shard, and its state by `state`: the snapshot's own, or with this node's changes to
/// it. Nothing may apply to the shard meanwhile. Durable when it returns. After an error the node stops; at the next
/// start [`DataStore::interrupted_installs`] tells what to do.
pub fn install(store: &DataStore, received: Received, state: &ShardState) -> Result<(), SnapshotError> {
    install_stepwise(store, received, state, &mut |_| Ok(()))
}

/// As [`install`], calling `after` behind each step: an error from it ends the install there, as a crash would.
pub fn install_stepwise(
    store: &DataStore,
    received: Received,
    state: &ShardState,
    after: &mut dyn FnMut(InstallStep) -> Result<(), EngineError>,
) -> Result<(), SnapshotError> {
    let shard = ShardId(received.manifest.shard_id);
    if ShardId(state.shard_id) != shard || state.applied_index != received.manifest.applied_index {
        return Err(SnapshotError::Refused {
            field: "state",
            value: format!("{} at {}", ShardId(state.shard_id), state.applied_index),
            allowed: format!("the snapshot is of {shard} at {}", received.manifest.applied_index),
        });
    }
    // The old rows may be at other slots than the new ones.
    let old = store.shard_state(shard)?;
    let mut ranges: Vec<SlotRange> = old.iter().chain([state, &received.state]).map(shard::range).collect();
    ranges.sort_unstable();
    ranges.dedup();
    store.begin_install(shard, &ranges)?;
    after(InstallStep::Emptied)?;
    let files = (0..received.manifest.files.len()).map(|number| received.directory.file(number)).collect();
    store.ingest(files)?;
    after(InstallStep::Ingested)?;
    store.finish_install(shard, state)?;
    after(InstallStep::Done)?;
    Ok(())
}
