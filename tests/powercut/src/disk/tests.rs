//! A whole disk, without the kernel, against a model of maps: what is live, what survives a cut, and how much space it
//! takes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsStr,
    sync::Arc,
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::Disk;
use crate::{
    model::{
        after_cut::Tear,
        glob::Glob,
        space::blocks_of,
        tree::{Id, Kind, ROOT},
    },
    rules::Rules,
    store::Store,
};

const DIRECTORIES: [&str; 2] = ["d", "e"];
const NAMES: [&str; 2] = ["a", "b"];

#[derive(Debug, Clone)]
enum Step {
    Create(usize, usize),
    Write(usize, usize, u64, Vec<u8>),
    SetLength(usize, usize, u64),
    Sync(usize, usize),
    SyncFails(usize, usize),
    Rename(usize, usize, usize),
    Link(usize, usize, usize, usize),
    Remove(usize, usize),
    Open(usize, usize),
    Close,
    SyncDirectory(usize),
    WriteBack,
    Cut,
    Tear(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (directory, name) = (|| 0..DIRECTORIES.len(), || 0..NAMES.len());
    let bytes = prop::collection::vec(1u8.., 1..1500);
    prop_oneof![
        4 => (directory(), name()).prop_map(|(d, n)| Step::Create(d, n)),
        6 => (directory(), name(), 0u64..5000, bytes).prop_map(|(d, n, at, bytes)| Step::Write(d, n, at, bytes)),
        2 => (directory(), name(), 0u64..9000).prop_map(|(d, n, length)| Step::SetLength(d, n, length)),
        4 => (directory(), name()).prop_map(|(d, n)| Step::Sync(d, n)),
        1 => (directory(), name()).prop_map(|(d, n)| Step::SyncFails(d, n)),
        3 => (directory(), name(), name()).prop_map(|(d, n, m)| Step::Rename(d, n, m)),
        2 => (directory(), name(), directory(), name()).prop_map(|(d, n, e, m)| Step::Link(d, n, e, m)),
        3 => (directory(), name()).prop_map(|(d, n)| Step::Remove(d, n)),
        1 => (directory(), name()).prop_map(|(d, n)| Step::Open(d, n)),
        1 => Just(Step::Close),
        4 => directory().prop_map(Step::SyncDirectory),
        1 => Just(Step::WriteBack),
        1 => Just(Step::Cut),
        2 => any::<u64>().prop_map(Step::Tear),
    ]
}

#[derive(Debug, Clone, Default)]
struct File {
    live: Vec<u8>,
    /// What a cut leaves; a failed sync stores nothing of it later but its length, as zeros.
    stored: Vec<u8>,
    /// Like `live`, with zeros where a failed sync lost bytes.
    storable: Vec<u8>,
    /// It was changed since its last sync.
    dirty: bool,
}

impl File {
    fn synced(&mut self) {
        self.stored = self.storable.clone();
        self.dirty = false;
    }

    fn restarted(&mut self, content: Vec<u8>) {
        *self = Self { live: content.clone(), stored: content.clone(), storable: content, dirty: false };
    }
}

type Entries = [BTreeMap<usize, Id>; 2];

struct World {
    dir: TempDir,
    disk: Disk,
    ids: [Id; 2],
    files: HashMap<Id, File>,
    live: Entries,
    durable: Entries,
    open: Vec<Id>,
}

fn start(dir: &TempDir) -> Disk {
    let rules = Arc::new(Rules::new(&[("f".into(), Glob::any())], None, 0));
    let (store, tree) = Store::open(dir.path()).unwrap();
    Disk::new(store, tree, rules, 1 << 30).unwrap()
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let mut disk = start(&dir);
        let ids = DIRECTORIES.map(|name| disk.create(ROOT, name.as_ref(), Kind::Directory, 0o755).unwrap().id);
        disk.sync_directory(ROOT).unwrap();
        let (live, durable) = Default::default();
        Self { dir, disk, ids, files: HashMap::new(), live, durable, open: Vec::new() }
    }

    fn change(&mut self, id: Id, change: impl Fn(&mut Vec<u8>)) {
        if let Some(file) = self.files.get_mut(&id) {
            change(&mut file.live);
            change(&mut file.storable);
            file.dirty = true;
        }
    }

    fn take(&mut self, step: Step) {
        let id = |d: usize, n: usize| self.live[d].get(&n).copied();
        match step {
            Step::Create(d, n) if id(d, n).is_none() => {
                let made = self.disk.create(self.ids[d], NAMES[n].as_ref(), Kind::File, 0o644).unwrap().id;
                self.files.insert(made, File::default());
                self.live[d].insert(n, made);
            }
            Step::Write(d, n, at, bytes) => {
                let Some(id) = id(d, n) else { return };
                assert_eq!(self.disk.write(id, at, bytes.clone().into()), Ok(bytes.len()));
                self.change(id, |content| {
                    let end = at as usize + bytes.len();
                    content.resize(content.len().max(end), 0);
                    content[at as usize..end].copy_from_slice(&bytes);
                });
            }
            Step::SetLength(d, n, length) => {
                let Some(id) = id(d, n) else { return };
                self.disk.set_length(id, length).unwrap();
                self.change(id, |content| content.resize(length as usize, 0));
            }
            Step::Sync(d, n) => {
                let Some(id) = id(d, n) else { return };
                self.disk.sync(id).unwrap();
                self.files.entry(id).and_modify(File::synced);
            }
            Step::SyncFails(d, n) => {
                let Some(id) = id(d, n) else { return };
                // To know what is lost byte by byte the model would be the code again: all of it is, or nothing.
                if self.files[&id].stored.is_empty() {
                    self.disk.sync_failed(id);
                    self.files.entry(id).and_modify(|file| file.storable.fill(0));
                }
            }
            Step::Rename(d, n, m) if n != m => {
                let Some(id) = id(d, n) else { return };
                let directory = self.ids[d];
                self.disk.rename((directory, NAMES[n].as_ref()), (directory, NAMES[m].as_ref()), true).unwrap();
                if self.live[d].get(&m) != Some(&id) {
                    self.live[d].remove(&n);
                    self.live[d].insert(m, id);
                }
            }
            Step::Link(d, n, e, m) if id(e, m).is_none() => {
                let Some(id) = id(d, n) else { return };
                self.disk.link(id, self.ids[e], NAMES[m].as_ref()).unwrap();
                self.live[e].insert(m, id);
            }
            Step::Remove(d, n) if id(d, n).is_some() => {
                self.disk.remove(self.ids[d], NAMES[n].as_ref(), Kind::File).unwrap();
                self.live[d].remove(&n);
            }
            Step::Open(d, n) => {
                let Some(id) = id(d, n) else { return };
                self.disk.open(id).unwrap();
                self.open.push(id);
            }
            Step::Close => self.open.pop().into_iter().for_each(|id| self.disk.release(id).unwrap()),
            Step::SyncDirectory(d) => {
                self.disk.sync_directory(self.ids[d]).unwrap();
                self.durable[d] = self.live[d].clone();
            }
            Step::WriteBack => {
                self.disk.write_back().unwrap();
                self.files.values_mut().for_each(File::synced);
            }
            Step::Cut => self.cut(),
            Step::Tear(seed) => self.tear(seed),
            _ => {}
        }
    }

    fn restart(&mut self, tear: Tear, seed: u64) {
        let fresh = TempDir::new().unwrap();
        let idle = start(&fresh);
        std::mem::replace(&mut self.disk, idle).cut(tear, seed).unwrap();
        self.disk = start(&self.dir);
        self.open.clear();
    }

    fn cut(&mut self) {
        self.restart(Tear::Drop, 0);
        self.live = self.durable.clone();
        self.files.values_mut().for_each(|file| file.restarted(file.stored.clone()));
    }

    /// Which names survive is for the tests of the journal; what was synced is in whatever they lead to.
    fn tear(&mut self, seed: u64) {
        self.restart(Tear::Mixed, seed);
        for d in 0..DIRECTORIES.len() {
            let listed = self.disk.list(self.ids[d]).unwrap().into_iter().skip(2);
            let place = |name: &OsStr| NAMES.iter().position(|known| *known == name).unwrap();
            self.live[d] = listed.map(|(name, entry)| (place(&name), entry.id)).collect();
        }
        self.durable = self.live.clone();
        let named: BTreeSet<_> = self.live.iter().flat_map(BTreeMap::values).collect();
        for id in named {
            let (content, file) = (self.disk.read(*id, 0, 1 << 20).unwrap(), self.files.get_mut(id).unwrap());
            assert!(file.dirty || content == file.stored, "a synced file lost bytes");
            file.restarted(content);
        }
    }

    fn check(&self) {
        let mut used = blocks_of(1) * 2;
        let mut holding: Vec<_> = self.live.iter().flat_map(BTreeMap::values).chain(&self.open).copied().collect();
        holding.sort_unstable();
        holding.dedup();
        for id in holding {
            let file = &self.files[&id];
            assert!(self.disk.read(id, 0, 1 << 20).unwrap() == file.live, "a reader sees other bytes");
            used += blocks_of(file.live.len() as u64);
        }
        for (d, entries) in self.live.iter().enumerate() {
            let listed = self.disk.list(self.ids[d]).unwrap().into_iter().skip(2);
            let expected = entries.iter().map(|(n, id)| (NAMES[*n].into(), *id));
            assert_eq!(listed.map(|(name, entry)| (name, entry.id)).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
        assert_eq!(self.disk.used(), used);
    }

    /// Objects of files that nothing can bring back are gone: only those stay that a name leads to.
    fn nothing_is_left_over(mut self) {
        self.cut();
        let count = std::fs::read_dir(self.dir.path().join("objects")).unwrap().count();
        let mut named: Vec<_> = self.live.iter().flat_map(BTreeMap::values).collect();
        named.sort_unstable();
        named.dedup();
        assert!(count <= named.len(), "{count} objects, {} files", named.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_disk_is_what_the_model_says_before_and_after_cuts(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check();
        }
        world.nothing_is_left_over();
    }
}
