//! Processes on this machine: each place is a directory, three ports and a `granary-node` process.
//!
//! All state that must outlive the reconcile loop is in the cluster directory (see [`layout`]); one loop at a time works
//! on it (see [`lock`]). Processes outlive the loop and are adopted again by the next one (see [`process`]).

mod backoff;
mod files;
pub mod layout;
pub mod lock;
mod logs;
mod look;
mod ports;
mod process;
mod record;
mod shutdown;
pub mod status_file;
mod supervise;
pub mod wishes;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use uuid::Uuid;

use self::{layout::Layout, lock::Lock, record::Record, supervise::Supervised};
use super::{Founding, Look, Start, Substrate, SubstrateError};

pub use self::{
    look::{empty, peek},
    shutdown::{Stopped, destroy, down},
};

/// The local substrate. Holds the directory's lock as long as it lives.
pub struct Local {
    layout: Layout,
    binary: PathBuf,
    delete_retired: AtomicBool,
    state: Mutex<State>,
    _lock: Lock,
}

struct State {
    record: Record,
    /// By index of the place.
    supervised: BTreeMap<u32, Supervised>,
}

impl Local {
    /// Takes the directory, makes it if it is not there, and adopts the processes that run on it.
    ///
    /// # Errors
    /// Another loop works on it (with its pid), or its files cannot be read.
    pub fn open(dir: &Path, binary: PathBuf) -> Result<Self, SubstrateError> {
        let layout = Layout::create(dir)?;
        let lock = Lock::take(&layout)?;
        let record = Record::load_or_create(&layout)?;
        let mut supervised = BTreeMap::new();
        for index in record.places.keys() {
            supervised.insert(*index, Supervised::adopt(&layout, *index)?);
        }
        let state = Mutex::new(State { record, supervised });
        Ok(Self { layout, binary, delete_retired: AtomicBool::new(false), state, _lock: lock })
    }

    /// Where its files are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether the directory of a node that left is deleted (else it is moved to `removed/`).
    pub fn set_delete_retired(&self, delete: bool) {
        self.delete_retired.store(delete, Ordering::Relaxed);
    }

    /// Pids of the processes that run, by the name of their place.
    pub fn pids(&self) -> BTreeMap<String, u32> {
        let mut state = self.state.lock();
        let running = state.supervised.iter_mut().filter_map(|(index, node)| Some((layout::name(*index), node.pid()?)));
        running.collect()
    }

    fn save(&self, record: &Record) -> Result<(), SubstrateError> {
        record.save(&self.layout)
    }

    /// Goes on with places that were given up: stops their processes, then puts their directories away.
    fn finish_retiring(&self, state: &mut State) -> Result<(), SubstrateError> {
        let retiring: Vec<u32> =
            state.record.places.iter().filter(|(_, place)| place.retiring).map(|(index, _)| *index).collect();
        for index in retiring {
            let node = state.supervised.entry(index).or_default();
            if node.is_running() {
                node.ask_to_stop();
                continue;
            }
            files::put_away(&self.layout, index, self.delete_retired.load(Ordering::Relaxed))?;
            state.record.places.remove(&index);
            state.supervised.remove(&index);
            self.save(&state.record)?;
        }
        Ok(())
    }
}

#[async_trait]
impl Substrate for Local {
    fn installation(&self) -> String {
        self.state.lock().record.installation.clone()
    }

    async fn look(&self) -> Result<Look, SubstrateError> {
        let mut state = self.state.lock();
        self.finish_retiring(&mut state)?;
        let State { record, supervised } = &mut *state;
        let mut look = look::facts(&self.layout, record)?;
        for (index, place) in record.places.iter().filter(|(_, place)| !place.retiring) {
            let node = supervised.entry(*index).or_default();
            look.places.push(look::place(&self.layout, *index, place, node.is_running()));
            look.notes.extend(node.note(&self.layout, *index));
            logs::rotate(&self.layout.log(*index));
        }
        Ok(look)
    }

    async fn mint_cluster_id(&self) -> Result<(), SubstrateError> {
        let mut state = self.state.lock();
        if state.record.cluster_id.is_none() {
            let record = Record { cluster_id: Some(Uuid::new_v4().to_string()), ..state.record.clone() };
            self.save(&record)?;
            state.record = record;
        }
        Ok(())
    }

    async fn keep_founding(&self, founding: Founding, replace: bool) -> Result<Founding, SubstrateError> {
        let mut state = self.state.lock();
        match &state.record.founding {
            Some(kept) if !replace => Ok(kept.clone()),
            _ => {
                let record = Record { founding: Some(founding.clone()), ..state.record.clone() };
                self.save(&record)?;
                state.record = record;
                Ok(founding)
            }
        }
    }

    async fn note_founded(&self) -> Result<(), SubstrateError> {
        let mut state = self.state.lock();
        let record = Record { founded: true, ..state.record.clone() };
        self.save(&record)?;
        state.record = record;
        Ok(())
    }

    async fn start_node(&self, index: u32) -> Result<Start, SubstrateError> {
        let mut state = self.state.lock();
        let State { record, supervised } = &mut *state;
        if record.places.get(&index).is_some_and(|place| place.retiring) {
            return Ok(Start::Later(format!("{} is still being retired", layout::name(index))));
        }
        let node = supervised.entry(index).or_default();
        if node.is_running() {
            return Ok(Start::Running);
        }
        if let Some(wait) = node.backing_off() {
            return Ok(Start::Later(format!("{} starts again in {} ms", layout::name(index), wait.as_millis())));
        }
        // The ports are kept before the process exists, so that no process is ever where nobody looks.
        let mut next = record.clone();
        if ports::settle(&mut next, index)? {
            self.save(&next)?;
            *record = next;
        }
        node.start(&self.layout, &self.binary, record, index)?;
        Ok(Start::Started)
    }

    async fn restart(&self, index: u32) -> Result<(), SubstrateError> {
        if let Some(node) = self.state.lock().supervised.get_mut(&index) {
            node.ask_to_stop();
        }
        Ok(())
    }

    async fn retire(&self, index: u32) -> Result<(), SubstrateError> {
        let mut state = self.state.lock();
        let mut record = state.record.clone();
        let Some(place) = record.places.get_mut(&index) else { return Ok(()) };
        place.retiring = true;
        self.save(&record)?;
        state.record = record;
        self.finish_retiring(&mut state)
    }
}
