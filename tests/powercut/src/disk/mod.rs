//! The disk of one mount between two cuts: the durable state, and what lies over it in memory. Knows neither FUSE nor
//! threads.

mod cut;
mod damage;
mod files;
mod names;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, ffi::OsString, io, sync::Arc, time::SystemTime};

use rustix::io::Errno;

pub use self::{
    cut::CutReport,
    damage::{Damage, DamageError, DamageKind, damage_at_rest, durable_files},
};
use crate::{
    counts::Counts,
    model::{
        journal::Journal,
        pending::Pending,
        space::{Space, blocks_of},
        tree::{Id, Kind, ROOT, Tree},
    },
    rules::Rules,
    store::{Store, StoreError},
};

/// Answer to a request.
pub type Answer<T> = Result<T, Errno>;

/// Most changes of names in memory. With more, all become durable, as a file system's own journal is of limited size.
const MOST_NAME_CHANGES: usize = 65_536;

/// A file or a directory.
#[derive(Debug)]
struct Node {
    kind: Kind,
    mode: u16,
    modified: SystemTime,
    /// Open handles of the kernel.
    open: u64,
    /// Where it was last linked: its path, for rules and classes.
    place: Option<(Id, OsString)>,
    content: Pending,
    /// Bytes that `fallocate` promised, from the beginning.
    reserved: u64,
}

impl Node {
    fn new(kind: Kind, mode: u16, place: Option<(Id, OsString)>) -> Self {
        let (modified, content) = (SystemTime::now(), Pending::default());
        Self { kind, mode, modified, open: 0, place, content, reserved: 0 }
    }

    /// Bytes that it takes of the disk.
    fn takes(&self) -> u64 {
        match self.kind {
            Kind::File => self.content.length().max(self.reserved),
            Kind::Directory => 1,
        }
    }
}

/// What is told of a file or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Its number.
    pub id: Id,
    /// What it is.
    pub kind: Kind,
    /// Length in bytes.
    pub length: u64,
    /// Bytes that it takes of the disk.
    pub takes: u64,
    /// Permission bits. They are durable for no file: after a cut it has its default again.
    pub mode: u16,
    /// When it was last changed.
    pub modified: SystemTime,
    /// How many names it has.
    pub links: u32,
}

/// What is not synced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unsynced {
    /// Changes of files' contents.
    pub changes: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Changes of names.
    pub names: u64,
}

/// The disk.
#[derive(Debug)]
pub struct Disk {
    store: Store,
    rules: Arc<Rules>,
    nodes: HashMap<Id, Node>,
    live: Tree,
    durable: Tree,
    journal: Journal,
    space: Space,
    unsynced_bytes: u64,
    most_unsynced: u64,
    next: Id,
}

impl Disk {
    /// The disk of what a store holds. With more than `most_unsynced` unsynced bytes, all are written back, as a kernel
    /// does when memory gets short.
    ///
    /// # Errors
    /// The file system under it fails.
    pub fn new(store: Store, durable: Tree, rules: Arc<Rules>, most_unsynced: u64) -> Result<Self, StoreError> {
        let (mut nodes, mut space) =
            (HashMap::from([(ROOT, Node::new(Kind::Directory, 0o755, None))]), Space::default());
        for (directory, name, entry) in durable.walk() {
            let mode = if entry.kind == Kind::File { 0o644 } else { 0o755 };
            let mut node = Node::new(entry.kind, mode, Some((directory, name.to_owned())));
            if entry.kind == Kind::File {
                let failed = |source| StoreError::Io { path: store.object(entry.id), source };
                node.content = Pending::of_stored(store.length(entry.id).map_err(failed)?);
            }
            let takes = node.takes();
            if nodes.insert(entry.id, node).is_none() {
                let _ = space.resize(0, takes, u64::MAX);
            }
        }
        let next = Store::next_id(&durable);
        let (live, journal) = (durable.clone(), Journal::default());
        Ok(Self { store, rules, nodes, live, durable, journal, space, unsynced_bytes: 0, most_unsynced, next })
    }

    fn node(&self, id: Id) -> Answer<&Node> {
        self.nodes.get(&id).ok_or(Errno::STALE)
    }

    fn node_mut(&mut self, id: Id) -> Answer<&mut Node> {
        self.nodes.get_mut(&id).ok_or(Errno::STALE)
    }

    /// What there is to tell of it.
    ///
    /// # Errors
    /// It is gone.
    pub fn attributes(&self, id: Id) -> Answer<Attributes> {
        let node = self.node(id)?;
        let links = if node.kind == Kind::Directory { 2 } else { self.live.links(id) };
        let takes = blocks_of(node.takes());
        let (kind, length, mode, modified) = (node.kind, node.content.length(), node.mode, node.modified);
        Ok(Attributes { id, kind, length, takes, mode, modified, links })
    }

    /// Sets permission bits and the time of the last change, where they are given.
    ///
    /// # Errors
    /// It is gone.
    pub fn set_attributes(&mut self, id: Id, mode: Option<u16>, modified: Option<SystemTime>) -> Answer<()> {
        let node = self.node_mut(id)?;
        node.mode = mode.unwrap_or(node.mode);
        node.modified = modified.unwrap_or(node.modified);
        Ok(())
    }

    /// Its path, as it was last linked; without a leading slash.
    pub fn path(&self, id: Id) -> String {
        let mut names = Vec::new();
        let mut place = self.nodes.get(&id).and_then(|node| node.place.as_ref());
        while let Some((directory, name)) = place {
            names.push(name.to_string_lossy());
            place = self.nodes.get(directory).and_then(|node| node.place.as_ref());
        }
        names.reverse();
        names.join("/")
    }

    /// Counts something of its class.
    pub fn count(&self, id: Id, add: impl FnOnce(&mut Counts)) {
        add(self.rules.classes.lock().of(&self.path(id)));
    }

    /// Free bytes and size of the disk.
    pub fn free_and_size(&self) -> (u64, u64) {
        let (free, size) = self.store.space();
        self.rules.capacity().map_or((free, size), |capacity| (self.space.free(capacity), capacity))
    }

    /// Bytes that live files take.
    pub fn used(&self) -> u64 {
        self.space.used()
    }

    /// What a cut would lose, if it dropped all.
    pub fn unsynced(&self) -> Unsynced {
        let changes = self.nodes.values().map(|node| node.content.ops().len() as u64).sum();
        Unsynced { changes, bytes: self.unsynced_bytes, names: self.journal.len() as u64 }
    }

    /// Numbers of all files and directories.
    pub fn ids(&self) -> Vec<Id> {
        self.nodes.keys().copied().collect()
    }

    fn capacity(&self) -> u64 {
        self.rules.capacity().unwrap_or(u64::MAX)
    }

    /// Removes what nothing refers to any more: no live name, no open handle, no durable name, no change of names that a
    /// cut may leave.
    fn collect(&mut self, candidates: Vec<Id>) {
        let mut candidates = candidates;
        while let Some(id) = candidates.pop() {
            let open = self.nodes.get(&id).is_some_and(|node| node.open > 0);
            let named = self.live.links(id) > 0 || self.durable.links(id) > 0;
            if id == ROOT || open || named || self.journal.mentions(id) {
                continue;
            }
            self.live.forget(id);
            candidates.extend(self.durable.forget(id).into_iter().map(|entry| entry.id));
            if let Some(node) = self.nodes.remove(&id) {
                self.unsynced_bytes -= node.content.bytes();
                self.store.remove(id);
            }
        }
    }
}

/// The file system under the disk failed: that is told as an error of the disk, and said aloud, as no test asked for it.
fn broken(what: &str) -> impl FnOnce(io::Error) -> Errno {
    move |error| {
        tracing::error!(%error, "{what}: the file system under the disk failed");
        Errno::IO
    }
}
