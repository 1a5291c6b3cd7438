//! Names against what every name once stood for.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
};

use proptest::prelude::*;

use super::{
    after_cut::Tear,
    journal::{Journal, NameOp},
    random::Random,
    tree::{Change, Entry, Id, Kind, ROOT, Tree},
};

fn change(directory: Id, name: &str, id: Option<Id>) -> Change {
    let entry = id.map(|id| Entry { id, kind: Kind::File });
    Change { directory, name: name.into(), entry }
}

fn create(directory: Id, name: &str, id: Id) -> NameOp {
    NameOp::single(change(directory, name, Some(id)))
}

fn rename(from: (Id, &str), to: (Id, &str), id: Id) -> NameOp {
    NameOp::rename(change(from.0, from.1, None), change(to.0, to.1, Some(id)))
}

#[test]
fn a_sync_of_one_directory_says_nothing_of_another() {
    let mut journal = Journal::default();
    journal.push(create(ROOT, "a", 5));
    journal.push(create(2, "b", 6));
    assert_eq!(journal.take_for(2), [create(2, "b", 6)]);
    assert_eq!(journal.len(), 1);
    assert!(journal.mentions(5) && !journal.mentions(6));
}

#[test]
fn a_rename_is_durable_whole_with_a_sync_of_either_directory() {
    for synced in [2, 3] {
        let mut journal = Journal::default();
        journal.push(rename((2, "x"), (3, "y"), 5));
        assert_eq!(journal.take_for(synced), [rename((2, "x"), (3, "y"), 5)]);
        assert_eq!(journal.len(), 0);
    }
}

#[test]
fn a_sync_takes_along_what_the_same_name_was_before() {
    let mut journal = Journal::default();
    for op in [create(2, "x", 5), create(2, "other", 6), rename((2, "x"), (3, "y"), 5), create(2, "x", 7)] {
        journal.push(op);
    }
    assert_eq!(journal.take_for(3), [create(2, "x", 5), rename((2, "x"), (3, "y"), 5)]);
    assert_eq!(journal.take_all(), [create(2, "other", 6), create(2, "x", 7)]);
}

#[derive(Debug, Clone)]
enum Step {
    Create(Id, usize),
    Remove(Id, usize),
    Rename(Id, usize, Id, usize),
    Sync(Id),
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn step() -> impl Strategy<Value = Step> {
    let place = || (1u64..4, 0usize..NAMES.len());
    prop_oneof![
        3 => place().prop_map(|(directory, name)| Step::Create(directory, name)),
        1 => place().prop_map(|(directory, name)| Step::Remove(directory, name)),
        3 => (place(), place()).prop_map(|((from, old), (to, new))| Step::Rename(from, old, to, new)),
        1 => (1u64..4).prop_map(Step::Sync),
    ]
}

/// The live and the durable tree, and what each name stood for since its directory was last synced.
#[derive(Default)]
struct World {
    live: Tree,
    durable: Tree,
    journal: Journal,
    since: HashMap<(Id, OsString), HashSet<Option<Id>>>,
    next: Id,
}

impl World {
    fn meaning(tree: &Tree, directory: Id, name: &str) -> Option<Id> {
        tree.get(directory, name.as_ref()).map(|entry| entry.id)
    }

    fn change(&mut self, op: NameOp) {
        for change in op.changes() {
            self.live.apply(change);
        }
        for change in op.changes() {
            let meaning = change.entry.map(|entry| entry.id);
            self.since.entry((change.directory, change.name.clone())).or_default().insert(meaning);
        }
        self.journal.push(op);
    }

    fn take(&mut self, step: Step) {
        self.next += 1;
        match step {
            Step::Create(directory, name) if Self::meaning(&self.live, directory, NAMES[name]).is_none() => {
                self.change(create(directory, NAMES[name], 10 + self.next));
            }
            Step::Remove(directory, name) if Self::meaning(&self.live, directory, NAMES[name]).is_some() => {
                self.change(NameOp::single(change(directory, NAMES[name], None)));
            }
            Step::Rename(from, old, to, new) if (from, old) != (to, new) => {
                if let Some(id) = Self::meaning(&self.live, from, NAMES[old]) {
                    self.change(rename((from, NAMES[old]), (to, NAMES[new]), id));
                }
            }
            Step::Sync(directory) => {
                for op in self.journal.take_for(directory) {
                    op.changes().iter().for_each(|change| {
                        self.durable.apply(change);
                    });
                }
                for name in NAMES {
                    let live = Self::meaning(&self.live, directory, name);
                    self.since.insert((directory, name.into()), HashSet::from([live]));
                    assert_eq!(Self::meaning(&self.durable, directory, name), live, "synced names are durable");
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn a_cut_leaves_each_name_as_it_once_was_since_its_sync_and_no_file_twice(
        steps in prop::collection::vec(step(), 0..40),
        seed: u64,
    ) {
        let mut world = World::default();
        steps.into_iter().for_each(|step| world.take(step));
        for tear in [Tear::Drop, Tear::Prefix, Tear::Pieces, Tear::Mixed] {
            let mut left = world.durable.clone();
            for op in world.journal.after_cut(tear, &mut Random::new(seed)) {
                op.changes().iter().for_each(|change| {
                    left.apply(change);
                });
            }
            let mut ids = Vec::new();
            for directory in 1..4 {
                for name in NAMES {
                    let meaning = World::meaning(&left, directory, name);
                    ids.extend(meaning);
                    let before = World::meaning(&world.durable, directory, name);
                    let once = world.since.get(&(directory, name.into()));
                    let was_so = meaning == before || once.is_some_and(|once| once.contains(&meaning));
                    prop_assert!(was_so, "{tear:?}: {directory}/{name} is {meaning:?}");
                }
            }
            let distinct: HashSet<_> = ids.iter().collect();
            prop_assert_eq!(distinct.len(), ids.len(), "{:?}: a rename tore in two", tear);
        }
    }
}

#[test]
fn directories_never_go_into_a_circle() {
    let directory = |place: Id, name: &str, id: Option<Id>| Change {
        directory: place,
        name: name.into(),
        entry: id.map(|id| Entry { id, kind: Kind::Directory }),
    };
    let moved = |from: (Id, &str), to: (Id, &str), id: Id| {
        NameOp::rename(directory(from.0, from.1, None), directory(to.0, to.1, Some(id)))
    };
    let mut durable = Tree::default();
    durable.apply(&directory(ROOT, "x", Some(2)));
    durable.apply(&directory(ROOT, "y", Some(3)));
    let mut journal = Journal::default();
    journal.push(moved((ROOT, "y"), (2, "y"), 3));
    journal.push(moved((2, "y"), (ROOT, "z"), 3));
    journal.push(moved((ROOT, "x"), (3, "x"), 2));
    for seed in 0..100 {
        let mut left = durable.clone();
        for op in journal.after_cut(Tear::Pieces, &mut Random::new(seed)) {
            op.changes().iter().for_each(|change| {
                left.apply(change);
            });
        }
        assert_eq!(left.walk().len(), 2, "seed {seed}: a path leads to both");
    }
}
