//! Names: which directory has which entries.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::{OsStr, OsString},
};

/// Number of a file or a directory; never used twice on one disk while anything remembers it.
pub type Id = u64;

/// The root directory.
pub const ROOT: Id = 1;

/// What an entry is the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The file or directory.
    pub id: Id,
    /// What it is.
    pub kind: Kind,
}

/// One name's new meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The directory that has the name.
    pub directory: Id,
    /// The name.
    pub name: OsString,
    /// What it stands for from now on; nothing: the name is gone.
    pub entry: Option<Entry>,
}

/// Directories with their entries, whether or not a path leads to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    directories: HashMap<Id, BTreeMap<OsString, Entry>>,
    links: HashMap<Id, u32>,
}

impl Tree {
    /// Does a change, and gives what the name stood for.
    pub fn apply(&mut self, change: &Change) -> Option<Entry> {
        let entries = self.directories.entry(change.directory).or_default();
        let before = match change.entry {
            Some(entry) => entries.insert(change.name.clone(), entry),
            None => entries.remove(&change.name),
        };
        if let Some(entry) = change.entry {
            *self.links.entry(entry.id).or_default() += 1;
        }
        if let Some(entry) = before {
            self.unlink(entry.id);
        }
        before
    }

    fn unlink(&mut self, id: Id) {
        if let Some(links) = self.links.get_mut(&id) {
            *links -= 1;
            if *links == 0 {
                self.links.remove(&id);
            }
        }
    }

    /// What a name stands for.
    pub fn get(&self, directory: Id, name: &OsStr) -> Option<Entry> {
        self.directories.get(&directory)?.get(name).copied()
    }

    /// Entries of a directory, by name.
    pub fn entries(&self, directory: Id) -> impl Iterator<Item = (&OsStr, Entry)> {
        self.directories.get(&directory).into_iter().flatten().map(|(name, entry)| (name.as_os_str(), *entry))
    }

    /// How many names stand for it.
    pub fn links(&self, id: Id) -> u32 {
        self.links.get(&id).copied().unwrap_or(0)
    }

    /// Forgets a directory that no name leads to, and gives what was in it.
    pub fn forget(&mut self, directory: Id) -> Vec<Entry> {
        let entries: Vec<_> =
            self.directories.remove(&directory).into_iter().flatten().map(|(_, entry)| entry).collect();
        entries.iter().for_each(|entry| self.unlink(entry.id));
        entries
    }

    /// All that paths lead to, parents first: directory, name, entry.
    pub fn walk(&self) -> Vec<(Id, &OsStr, Entry)> {
        let (mut found, mut seen, mut waiting) = (Vec::new(), HashSet::from([ROOT]), vec![ROOT]);
        while let Some(directory) = waiting.pop() {
            for (name, entry) in self.entries(directory) {
                found.push((directory, name, entry));
                if entry.kind == Kind::Directory && seen.insert(entry.id) {
                    waiting.push(entry.id);
                }
            }
        }
        found
    }

    /// The same paths, without what no path leads to.
    pub fn reachable(&self) -> Self {
        let mut tree = Self::default();
        for change in self.as_changes() {
            tree.apply(&change);
        }
        tree
    }

    /// The changes that make this tree's paths from nothing.
    pub fn as_changes(&self) -> Vec<Change> {
        let change = |(directory, name, entry): (Id, &OsStr, Entry)| Change {
            directory,
            name: name.to_owned(),
            entry: Some(entry),
        };
        self.walk().into_iter().map(change).collect()
    }

    /// Paths of all files, such as `data/CURRENT`, by path. Bytes of names that are not UTF-8 are replaced.
    pub fn files(&self) -> BTreeMap<String, Id> {
        let (mut paths, mut files) = (HashMap::from([(ROOT, String::new())]), BTreeMap::new());
        for (directory, name, entry) in self.walk() {
            let parent = paths.get(&directory).map_or("", String::as_str);
            let path = if parent.is_empty() {
                name.to_string_lossy().into_owned()
            } else {
                format!("{parent}/{}", name.to_string_lossy())
            };
            match entry.kind {
                Kind::File => files.insert(path, entry.id).map(|_| ()),
                Kind::Directory => paths.insert(entry.id, path).map(|_| ()),
            };
        }
        files
    }
}
