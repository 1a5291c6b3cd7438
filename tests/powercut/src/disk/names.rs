//! Names: made, changed, and made durable with their directory.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    time::SystemTime,
};

use rustix::io::Errno;

use super::{Answer, Attributes, Disk, MOST_NAME_CHANGES, Node, broken};
use crate::model::{
    journal::NameOp,
    tree::{Change, Entry, Id, Kind, ROOT},
};

fn change(directory: Id, name: &OsStr, entry: Option<Entry>) -> Change {
    Change { directory, name: name.to_owned(), entry }
}

impl Disk {
    /// What a name stands for.
    ///
    /// # Errors
    /// Nothing.
    pub fn lookup(&self, directory: Id, name: &OsStr) -> Answer<Attributes> {
        self.attributes(self.entry(directory, name)?.id)
    }

    fn entry(&self, directory: Id, name: &OsStr) -> Answer<Entry> {
        self.live.get(directory, name).ok_or(Errno::NOENT)
    }

    /// Entries of a directory with `.` and `..`.
    ///
    /// # Errors
    /// It is gone.
    pub fn list(&self, directory: Id) -> Answer<Vec<(OsString, Entry)>> {
        let node = self.node(directory)?;
        let parent = node.place.as_ref().map_or(ROOT, |(parent, _)| *parent);
        let dots = [(".", directory), ("..", parent)];
        let dots = dots.map(|(name, id)| (OsString::from(name), Entry { id, kind: Kind::Directory }));
        Ok(dots.into_iter().chain(self.live.entries(directory).map(|(name, entry)| (name.to_owned(), entry))).collect())
    }

    /// Does a change in memory.
    fn change(&mut self, op: NameOp) -> Answer<()> {
        for change in op.changes() {
            self.live.apply(change);
            if let Some(node) = self.nodes.get_mut(&change.directory) {
                node.modified = SystemTime::now();
            }
        }
        self.journal.push(op);
        if self.journal.len() > MOST_NAME_CHANGES { self.write_back_names() } else { Ok(()) }
    }

    /// Makes a file or a directory.
    ///
    /// # Errors
    /// The name is taken, its directory is gone, or the disk is full.
    pub fn create(&mut self, directory: Id, name: &OsStr, kind: Kind, mode: u16) -> Answer<Attributes> {
        if self.live.get(directory, name).is_some() {
            return Err(Errno::EXIST);
        }
        self.parent(directory)?;
        let (id, node) = (self.next, Node::new(kind, mode, Some((directory, name.to_owned()))));
        self.space.resize(0, node.takes(), self.capacity()).map_err(|_| Errno::NOSPC)?;
        self.next += 1;
        self.nodes.insert(id, node);
        self.change(NameOp::single(change(directory, name, Some(Entry { id, kind }))))?;
        self.attributes(id)
    }

    /// A directory that still has a name takes new entries.
    fn parent(&self, directory: Id) -> Answer<()> {
        let exists = directory == ROOT || self.live.links(directory) > 0;
        if exists && self.node(directory)?.kind == Kind::Directory { Ok(()) } else { Err(Errno::NOENT) }
    }

    /// Gives a file one more name.
    ///
    /// # Errors
    /// The name is taken, its directory is gone, or the file has no name any more.
    pub fn link(&mut self, id: Id, directory: Id, name: &OsStr) -> Answer<Attributes> {
        if self.live.get(directory, name).is_some() {
            return Err(Errno::EXIST);
        }
        self.parent(directory)?;
        if self.live.links(id) == 0 {
            return Err(Errno::NOENT);
        }
        self.node_mut(id)?.place = Some((directory, name.to_owned()));
        self.change(NameOp::single(change(directory, name, Some(Entry { id, kind: Kind::File }))))?;
        self.attributes(id)
    }

    /// Takes a name away.
    ///
    /// # Errors
    /// It stands for nothing, for another kind, or for a directory that is not empty.
    pub fn remove(&mut self, directory: Id, name: &OsStr, kind: Kind) -> Answer<()> {
        let entry = self.entry(directory, name)?;
        self.may_go(entry, kind)?;
        self.change(NameOp::single(change(directory, name, None)))?;
        self.let_go(entry.id);
        Ok(())
    }

    fn may_go(&self, entry: Entry, kind: Kind) -> Answer<()> {
        match (entry.kind, kind) {
            (Kind::Directory, Kind::File) => Err(Errno::ISDIR),
            (Kind::File, Kind::Directory) => Err(Errno::NOTDIR),
            _ if self.live.entries(entry.id).next().is_some() => Err(Errno::NOTEMPTY),
            _ => Ok(()),
        }
    }

    /// Renames, over what the new name stood for unless that is forbidden.
    ///
    /// # Errors
    /// The old name stands for nothing; the new one's may not be replaced; its directory is gone.
    pub fn rename(&mut self, from: (Id, &OsStr), to: (Id, &OsStr), replace: bool) -> Answer<()> {
        let entry = self.entry(from.0, from.1)?;
        self.parent(to.0)?;
        let replaced = self.live.get(to.0, to.1);
        if let Some(replaced) = replaced {
            if !replace {
                return Err(Errno::EXIST);
            }
            if replaced.id == entry.id {
                return Ok(());
            }
            self.may_go(replaced, entry.kind)?;
        }
        self.node_mut(entry.id)?.place = Some((to.0, to.1.to_owned()));
        self.change(NameOp::rename(change(from.0, from.1, None), change(to.0, to.1, Some(entry))))?;
        if let Some(replaced) = replaced {
            self.let_go(replaced.id);
        }
        Ok(())
    }

    /// Makes a directory's names durable, or says so (a lying disk). Gives the file that stores them, to sync it in
    /// earnest.
    ///
    /// # Errors
    /// It is gone, or the file system under it fails.
    pub fn sync_directory(&mut self, directory: Id) -> Answer<Option<File>> {
        self.node(directory)?;
        if self.rules.lie().of_directories() {
            self.count(directory, |counts| counts.lies += 1);
            return Ok(None);
        }
        let ops = self.journal.take_for(directory);
        self.make_durable(&ops)?;
        self.count(directory, |counts| counts.directory_syncs += 1);
        if ops.is_empty() { Ok(None) } else { self.store.names().map(Some).map_err(broken("syncing names")) }
    }

    /// Makes all names durable, without anybody's asking.
    ///
    /// # Errors
    /// The file system under it fails.
    pub fn write_back_names(&mut self) -> Answer<()> {
        let ops = self.journal.take_all();
        self.make_durable(&ops)
    }

    pub(super) fn make_durable(&mut self, ops: &[NameOp]) -> Answer<()> {
        if ops.is_empty() {
            return Ok(());
        }
        let changes = || ops.iter().flat_map(NameOp::changes);
        self.store.commit(changes()).map_err(broken("syncing names"))?;
        let mut candidates = Vec::new();
        for change in changes() {
            candidates.extend(self.durable.apply(change).map(|entry| entry.id));
            candidates.extend(change.entry.map(|entry| entry.id));
        }
        self.collect(candidates);
        Ok(())
    }
}
