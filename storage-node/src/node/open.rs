//! From a directory to a node: waits for what a start may have to wait for, then opens the stores.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use granary_engine::{Disk, DiskError, DiskLock, DiskSpace, EngineOptions};
use tokio::runtime::Handle;

use super::{
    Node, NodeError,
    starting::{Stage, Starting},
};
use crate::options::Options;

/// How often the lock is tried.
const TRY_LOCK: Duration = Duration::from_millis(100);
/// How often the room of a full disk is looked at.
const LOOK_AT_ROOM: Duration = Duration::from_secs(1);
/// After so long it is tried again though no more room is seen, at first and at most; doubled each time. What a quota or a
/// volume with less behind it than it shows refuses comes back without a byte more in sight.
const TRY_ANYWAY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// Between two lines in the log of one that waits.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// The node, blank or a member whose drivers run.
pub(super) async fn open(options: Arc<Options>, starting: &Starting, peers: Handle) -> Result<Arc<Node>, NodeError> {
    let lock = Arc::new(take_lock(&options, starting).await?);
    let disk = open_disk(&options, &lock, starting).await?;
    starting.at(Stage::Recovers);
    let (stores, incarnation) = (disk.stores().cloned(), disk.incarnation());
    if let Some(remade) = disk.remade() {
        let lost: Vec<_> = remade.lost.iter().map(|shard| shard.0).collect();
        tracing::warn!(
            why = remade.why,
            kept = remade.kept.len(),
            ?lost,
            opened = remade.opened,
            "data/ was damaged and is made anew"
        );
    }
    let node = Node::new(options, disk, peers);
    if let Some(stores) = stores {
        let (id, cluster) = (stores.identity.node_id, stores.identity.cluster_id.clone());
        tracing::info!(node = id, cluster, incarnation, "a member starts");
        node.start_member(stores, incarnation, None)?;
    } else {
        tracing::info!(uuid = node.uuid, "a blank node starts: it waits to be asked to found or join a cluster");
    }
    Ok(node)
}

/// A pod that was deleted by force may still run on its volume while its successor starts: that one waits.
async fn take_lock(options: &Options, starting: &Starting) -> Result<DiskLock, NodeError> {
    let began = Instant::now();
    let mut said = began;
    loop {
        match tokio::task::block_in_place(|| DiskLock::take(&options.data)) {
            Ok(lock) => return Ok(lock),
            Err(DiskError::InUse { holder, .. }) if began.elapsed() < options.lock_wait() => {
                starting.at(Stage::WaitsForLock { holder: holder.unwrap_or_else(|| "not known".into()) });
            }
            Err(error) => return Err(error.into()),
        }
        if said.elapsed() >= SAY_AGAIN {
            said = Instant::now();
            tracing::warn!(seconds = began.elapsed().as_secs(), "still waits for the data directory");
        }
        tokio::time::sleep(TRY_LOCK).await;
    }
}

/// RocksDB needs room to recover. Where it says that there is too little, it would again: the node waits for more. It
/// waits as well, no longer than for the directory, while the one that had it still holds a store.
async fn open_disk(options: &Options, lock: &Arc<DiskLock>, starting: &Starting) -> Result<Disk, NodeError> {
    // Free bytes that are waited for, once it failed for lack of room.
    let mut wanted = 0;
    let began = Instant::now();
    let mut said = began;
    let (mut tried, mut patience) = (began, TRY_ANYWAY.0);
    loop {
        let space = DiskSpace::of(&options.data).map_err(DiskError::from)?;
        if space.free >= wanted || tried.elapsed() >= patience {
            starting.at(Stage::Opens);
            let engine = EngineOptions {
                block_cache_bytes: (options.block_cache_mib as usize) << 20,
                ..EngineOptions::for_disk(space.total)
            };
            match tokio::task::block_in_place(|| Disk::open_locked(lock.clone(), engine)) {
                Err(error) if error.is_lack_of_room() => {
                    tracing::warn!(%error, free = space.free, "the stores do not open");
                    patience = if wanted == 0 { patience } else { (patience * 2).min(TRY_ANYWAY.1) };
                    tried = Instant::now();
                    wanted = (space.free + 1).max(options.space_marks(space.total).exhausted_below);
                }
                Err(error) if error.is_store_held() && began.elapsed() < options.lock_wait() => {
                    starting.at(Stage::WaitsForLock { holder: "which is ending".into() });
                    tokio::time::sleep(TRY_LOCK).await;
                    continue;
                }
                opened => return Ok(opened?),
            }
        }
        starting.at(Stage::WaitsForRoom { free: space.free, wanted });
        if said.elapsed() >= SAY_AGAIN {
            said = Instant::now();
            tracing::warn!(free = space.free, wanted, "still waits for room on the disk");
        }
        tokio::time::sleep(LOOK_AT_ROOM).await;
    }
}
