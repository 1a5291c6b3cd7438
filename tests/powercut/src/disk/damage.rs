//! Bit rot: a flipped bit, or a lost end, of durable bytes that nobody wrote to.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::Disk;
use crate::{
    model::{glob::Glob, random::Random, tree::Id},
    store::{Store, StoreError},
};

/// What was damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file, below the mount.
    pub path: String,
    /// Its number.
    pub id: Id,
    /// What was done.
    pub kind: DamageKind,
}

/// A way to damage a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageKind {
    /// One bit has the other value.
    Flip {
        /// Offset of its byte.
        offset: u64,
        /// Which of the eight.
        bit: u8,
    },
    /// The end is gone.
    Truncate {
        /// Length before.
        from: u64,
        /// Length now.
        to: u64,
    },
}

/// Nothing was damaged.
#[derive(Debug, thiserror::Error)]
pub enum DamageError {
    /// No file that has bytes, all of them synced, matches.
    #[error("no synced file with bytes in it matches {0}")]
    NoFile(Glob),
    /// The disk is cut or gone.
    #[error("the disk is cut")]
    Cut,
    /// The backing directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn io_error(path: PathBuf) -> impl FnOnce(io::Error) -> DamageError {
    move |source| DamageError::Store(StoreError::Io { path, source })
}

/// Flips a random bit of a random file that matches, or cuts off a random part of its end. Nothing may be mounted from
/// the backing directory: after a cut, before the next mount.
///
/// # Errors
/// It is in use, no file matches, or the file system under it fails.
pub fn damage_at_rest(backing: &Path, path: &Glob, truncate: bool, seed: u64) -> Result<Damage, DamageError> {
    let (store, tree) = Store::open(backing)?;
    let mut files = Vec::new();
    for (name, id) in tree.files() {
        let length = store.length(id).map_err(io_error(store.object(id)))?;
        files.push((name, id, length));
    }
    damage(&store, files, path, truncate, seed)
}

impl Disk {
    /// Flips a random bit of a random synced file that matches, under a running system.
    ///
    /// # Errors
    /// No file matches, or the file system under it fails.
    pub fn flip(&self, path: &Glob, seed: u64) -> Result<Damage, DamageError> {
        let mut files = Vec::new();
        for (name, id) in self.live.files() {
            if let Some(node) = self.nodes.get(&id).filter(|node| node.content.is_clean()) {
                files.push((name, id, node.content.stored()));
            }
        }
        damage(&self.store, files, path, false, seed)
    }
}

fn damage(
    store: &Store,
    files: Vec<(String, Id, u64)>,
    path: &Glob,
    truncate: bool,
    seed: u64,
) -> Result<Damage, DamageError> {
    let files: Vec<_> = files.into_iter().filter(|(name, _, length)| *length > 0 && path.matches(name)).collect();
    let mut random = Random::new(seed);
    let chosen = random.below(files.len() as u64) as usize;
    let (name, id, length) = files.into_iter().nth(chosen).ok_or_else(|| DamageError::NoFile(path.clone()))?;
    let object = store.object(id);
    let kind = if truncate {
        DamageKind::Truncate { from: length, to: random.below(length) }
    } else {
        DamageKind::Flip { offset: random.below(length), bit: random.below(8) as u8 }
    };
    apply(&object, kind).map_err(io_error(object))?;
    Ok(Damage { path: name, id, kind })
}

fn apply(object: &Path, kind: DamageKind) -> io::Result<()> {
    match kind {
        DamageKind::Truncate { to, .. } => OpenOptions::new().write(true).open(object)?.set_len(to),
        DamageKind::Flip { offset, bit } => {
            let mut byte = [0];
            File::open(object)?.read_exact_at(&mut byte, offset)?;
            byte[0] ^= 1 << bit;
            OpenOptions::new().write(true).open(object)?.write_all_at(&byte, offset)
        }
    }
}

/// Paths and lengths of all durable files of a backing directory that is not mounted.
///
/// # Errors
/// It is in use, or the file system under it fails.
pub fn durable_files(backing: &Path) -> Result<Vec<(String, u64)>, StoreError> {
    let (store, tree) = Store::open(backing)?;
    let length = |id| fs::metadata(store.object(id)).map_or(0, |metadata| metadata.len());
    Ok(tree.files().into_iter().map(|(path, id)| (path, length(id))).collect())
}
