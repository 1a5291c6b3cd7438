//! Makes `data/` anew at a start, when a part of it was noted as damaged: what can be read is copied into a new store,
//! and shards that cannot be read whole are left out, so that their replicas ask their groups for a snapshot. Their
//! logs and votes are in `raft/` and stay as they are.
//!
//! Nothing is destroyed: the old store is set aside, and kept until all replicas here are whole again. A crash in
//! between leaves the old store in its place, or the new one whole.

use std::{
    fs,
    path::{Path, PathBuf},
};

use granary_common::{ShardId, limits::MAX_SHARDS};
use granary_machine::View as _;
use granary_proto::storage::{Identity, ShardState};

use crate::{
    DataStore, DiskSpace, EngineError, EngineOptions, FileError, StoreKind, damage,
    data_store::state_in,
    disk::is_lack_of_room,
    files,
    snapshot::{FILE_BYTES, SnapshotError, StagingArea, export_view},
};

/// Before the number of a store that was set aside.
const SET_ASIDE: &str = "damaged-";
/// The new store while it is made.
const NEW: &str = "data-new";

/// What became of a damaged store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remade {
    /// What was damaged.
    pub why: String,
    /// Shards whose rows were copied.
    pub kept: Vec<ShardId>,
    /// Shards that could not be read whole. Others may be lost as well when the store did not open.
    pub lost: Vec<ShardId>,
    /// Whether the old store opened at all.
    pub opened: bool,
}

/// Why a damaged store is used as it is: its only copy of a shard is in there, or there is no room for another store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) why: String,
}

/// Why it could not be made anew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemakeError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Ends a swap that was cut off between its two renames; a new store that was not finished goes.
pub(crate) fn finish_swap(data: &Path) -> Result<(), FileError> {
    let new = data.with_file_name(NEW);
    if data.exists() {
        return files::remove_tree(&new);
    }
    if new.exists() {
        // The damage was in the store that is set aside.
        damage::forget(data)?;
        rename(&new, data)?;
    }
    Ok(())
}

/// Makes the store anew if it was noted as damaged. `copied`: whether the cluster is known to keep each shard on other
/// nodes too; only then a shard of which nothing can be read, not even who votes in it, is left to them.
pub(crate) fn remake(
    data: &Path,
    staging: &Path,
    (identity, copied): (&Identity, &dyn Fn() -> bool),
    options: &EngineOptions,
) -> Result<Option<Result<Remade, Kept>>, RemakeError> {
    let Some(why) = damage::noted(data)? else { return Ok(None) };
    let new = data.with_file_name(NEW);
    match make(data, staging, (identity, copied()), options, &why) {
        Ok(Ok(remade)) => Ok(Some(Ok(remade))),
        Ok(Err(reason)) => {
            files::remove_tree(&new)?;
            Ok(Some(Err(Kept { why: format!("{why}; {reason}") })))
        }
        // Once the old store is set aside, the new one is what there is.
        Err(error) if is_lack_of_room(&error.to_string()) && data.exists() => {
            files::remove_tree(&new)?;
            files::remove_tree(staging)?;
            Ok(Some(Err(Kept { why: format!("{why}; there is no room to make it anew: {error}") })))
        }
        Err(error) => Err(error),
    }
}

/// Makes it anew, or says why it stays.
fn make(
    data: &Path,
    staging: &Path,
    (identity, copied): (&Identity, bool),
    options: &EngineOptions,
    why: &str,
) -> Result<Result<Remade, String>, RemakeError> {
    let old = match DataStore::open_at_rest(data, identity, options) {
        Ok(old) => Some(old),
        Err(EngineError::RocksDb { message, .. }) if damage::is_wrong(&message) && copied => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(lack) = old.as_ref().map_or(Ok(None), |old| lacks_room(data, old.table_bytes()))? {
        return Ok(Err(lack));
    }
    tracing::warn!(why, "data/ is damaged: it is made anew from what can be read");
    files::remove_tree(staging)?;
    files::create_directories(staging)?;
    let new_path = data.with_file_name(NEW);
    files::remove_tree(&new_path)?;
    files::create_directories(&new_path)?;
    let new = DataStore::create(&new_path, identity, options)?;
    let mut remade = Remade { why: why.to_owned(), kept: Vec::new(), lost: Vec::new(), opened: old.is_some() };
    if let Some(old) = old
        && let Some(sole) = copy(&old, &new, (staging, identity, copied), &mut remade)?
    {
        return Ok(Err(format!("{sole} has its only copy here, so nothing is made anew")));
    }
    new.flush_wal()?;
    drop(new);
    for path in [&new_path, &parent(data)] {
        files::sync_directory(path)?;
    }
    rename(data, &set_aside(data))?;
    damage::forget(data)?;
    rename(&new_path, data)?;
    Ok(Ok(remade))
}

/// Why there is too little room for a copy of all tables. What is written into them is not larger.
fn lacks_room(data: &Path, tables: u64) -> Result<Option<String>, FileError> {
    let (wanted, free) = (tables / 20 * 21, DiskSpace::of(&parent(data))?.free);
    let lack = || format!("{wanted} bytes of disk are needed to make it anew, and {free} are free");
    Ok((free < wanted).then(lack))
}

/// Copies all that can be read. Gives the shard that cannot be read, and has no other copy.
fn copy(
    old: &DataStore,
    new: &DataStore,
    (staging, identity, copied): (&Path, &Identity, bool),
    remade: &mut Remade,
) -> Result<Option<ShardId>, RemakeError> {
    let staging = StagingArea::new(staging.to_owned(), identity.cluster_id.clone());
    let view = old.snapshot();
    for shard in (0..=MAX_SHARDS).map(ShardId) {
        let state = match state_in(&view, shard) {
            Ok(None) => continue,
            Ok(Some(state)) => state,
            Err(_) if !copied => return Ok(Some(shard)),
            Err(error) => {
                tracing::warn!(shard = shard.0, %error, "the state of a shard cannot be read");
                remade.lost.push(shard);
                continue;
            }
        };
        // An install that was cut off: what is there means nothing.
        if view.get(&granary_machine::rows::installing_key(shard)).map_err(EngineError::from)?.is_some() {
            continue;
        }
        match copy_shard(&view, new, shard, &state, &staging) {
            Ok(()) => remade.kept.push(shard),
            Err(SnapshotError::Engine(EngineError::Corrupt { store: StoreKind::Data, what })) => {
                if state.conf_state.as_ref().is_none_or(|conf| conf.voters.len() < 2) {
                    return Ok(Some(shard));
                }
                tracing::warn!(shard = shard.0, what, "a shard cannot be read whole: it comes anew from its group");
                remade.lost.push(shard);
            }
            Err(SnapshotError::File(error)) => return Err(error.into()),
            Err(SnapshotError::Engine(error)) => return Err(error.into()),
            Err(error) => {
                let why = format!("{shard} cannot be copied: {error}");
                return Err(EngineError::Refused { store: StoreKind::Data, why }.into());
            }
        }
    }
    Ok(None)
}

fn copy_shard(
    view: &crate::data_store::SnapshotView<'_>,
    new: &DataStore,
    shard: ShardId,
    state: &ShardState,
    staging: &StagingArea,
) -> Result<(), SnapshotError> {
    let exported = export_view(view, shard, staging, FILE_BYTES, &mut || ())?;
    new.ingest(exported.paths())?;
    new.finish_install(shard, state)?;
    Ok(())
}

/// The stores that were set aside in the data directory `root`, in no order.
pub fn stores_set_aside(root: &Path) -> Result<Vec<PathBuf>, FileError> {
    let failed = |error| FileError::at("list", root)(error);
    let mut found = Vec::new();
    for entry in fs::read_dir(root).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with(SET_ASIDE) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes what was set aside: to be called when every replica here is whole again.
pub fn remove_set_aside(root: &Path) -> Result<(), FileError> {
    stores_set_aside(root)?.iter().try_for_each(|path| files::remove_tree(path))
}

/// A name that is free.
fn set_aside(data: &Path) -> PathBuf {
    let name = |number: u32| data.with_file_name(format!("{SET_ASIDE}{number}"));
    let mut number = 1;
    while name(number).exists() {
        number += 1;
    }
    name(number)
}

fn parent(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_owned)
}

fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::at("rename", from))?;
    files::sync_directory(&parent(to))
}

#[cfg(test)]
#[path = "remake_tests.rs"]
mod tests;
