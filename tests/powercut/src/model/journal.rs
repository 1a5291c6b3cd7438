//! Changes of names that no sync of a directory has made durable yet.
//!
//! Strict POSIX: a name is durable once its directory was synced, and not before, whatever was done to the file. What
//! surely holds besides: one change (such as a rename over two directories) is whole or not at all, and changes of the
//! same name survive in their order.

use std::{collections::HashSet, ffi::OsStr};

use super::{
    after_cut::Tear,
    random::Random,
    tree::{Change, Id, Kind},
};

/// Changes that happen together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameOp {
    changes: Vec<Change>,
    /// It moves a directory to another one. Such changes keep their order among each other, as file systems take one lock
    /// for them: else two could make a circle that no path leads to.
    moves_directory: bool,
}

impl NameOp {
    /// One name's change.
    pub fn single(change: Change) -> Self {
        Self { changes: vec![change], moves_directory: false }
    }

    /// A rename: the old name goes and the new one comes, at once.
    pub fn rename(old: Change, new: Change) -> Self {
        let kind = new.entry.map(|entry| entry.kind);
        let moves_directory = kind == Some(Kind::Directory) && old.directory != new.directory;
        Self { changes: vec![old, new], moves_directory }
    }

    /// What changes.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
}

/// The changes, oldest first. Bounded by its owner, which makes all durable when there are too many.
#[derive(Debug, Clone, Default)]
pub struct Journal(Vec<NameOp>);

impl Journal {
    /// Adds the latest change.
    pub fn push(&mut self, op: NameOp) {
        self.0.push(op);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a change here makes a name for it.
    pub fn mentions(&self, id: Id) -> bool {
        let mut changes = self.0.iter().flat_map(NameOp::changes);
        changes.any(|change| change.directory == id || change.entry.is_some_and(|entry| entry.id == id))
    }

    /// Takes out what a sync of this directory makes durable, oldest first: its own changes and what they rest on.
    pub fn take_for(&mut self, directory: Id) -> Vec<NameOp> {
        let own = |op: &NameOp| op.changes.iter().any(|change| change.directory == directory);
        let taken = with_what_they_rest_on(&self.0, |_, op| own(op));
        let mut flags = taken.into_iter();
        self.0.extract_if(.., |_| flags.next().unwrap_or(false)).collect()
    }

    /// Takes out everything, oldest first.
    pub fn take_all(&mut self) -> Vec<NameOp> {
        std::mem::take(&mut self.0)
    }

    /// What a power cut leaves, oldest first.
    pub fn after_cut(&self, tear: Tear, random: &mut Random) -> Vec<NameOp> {
        let first = |count: usize| self.0[..count].to_vec();
        match tear {
            Tear::Drop => Vec::new(),
            Tear::Prefix => first(random.below(self.0.len() as u64 + 1) as usize),
            Tear::Pieces => {
                // Most cuts keep few or many of them, not always about a half.
                let odds = random.below(101);
                let kept = with_what_they_rest_on(&self.0, |_, _| random.below(100) < odds);
                self.0.iter().zip(kept).filter(|(_, kept)| *kept).map(|(op, _)| op.clone()).collect()
            }
            Tear::Mixed => match random.below(4) {
                0 => Vec::new(),
                1 => self.after_cut(Tear::Prefix, random),
                2 => self.after_cut(Tear::Pieces, random),
                _ => first(self.0.len()),
            },
        }
    }
}

/// Which changes survive when the wanted ones do: also every earlier change of a name that a surviving one changes.
fn with_what_they_rest_on(ops: &[NameOp], mut wanted: impl FnMut(usize, &NameOp) -> bool) -> Vec<bool> {
    let mut kept = vec![false; ops.len()];
    let mut names: HashSet<(Id, &OsStr)> = HashSet::new();
    let mut moves = false;
    for (at, op) in ops.iter().enumerate().rev() {
        let rests = op.changes.iter().any(|change| names.contains(&(change.directory, change.name.as_os_str())));
        if wanted(at, op) || rests || (moves && op.moves_directory) {
            kept[at] = true;
            moves |= op.moves_directory;
            names.extend(op.changes.iter().map(|change| (change.directory, change.name.as_os_str())));
        }
    }
    kept
}
