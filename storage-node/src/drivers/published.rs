//! What the store publishes of its groups, readable by any thread without asking the store: the board.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use granary_common::ShardId;
use granary_duties::lease::Lease;
use granary_store::{Published, Role};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::clock;

/// One cell a shard; a reader takes the lock shared and for some ns.
pub(crate) struct Board {
    cells: RwLock<BTreeMap<ShardId, Cell>>,
    changes: watch::Sender<u64>,
    /// Shards whose replica here is known to hold wrong rows: nothing of them is served.
    refused: RwLock<BTreeSet<ShardId>>,
    /// When the store's loop turned last, by [`clock::now_ns`]; 0: it does not run yet, or has ended.
    turned_ns: AtomicU64,
}

struct Cell {
    state: Arc<Published>,
    /// Apart from `state`, since it changes with every heartbeat.
    lease_until_ns: AtomicU64,
    fresh_ns: AtomicU64,
    /// Somebody asked for the lease since the store was told so.
    asked: AtomicBool,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            cells: RwLock::default(),
            refused: RwLock::default(),
            changes: watch::Sender::new(0),
            turned_ns: AtomicU64::new(0),
        }
    }

    /// Takes over what the store published. Called by the store thread only, before messages leave.
    pub(crate) fn publish(&self, published: Vec<Published>) {
        let mut changed = false;
        for state in published {
            if state.gone {
                self.refused.write().remove(&state.shard);
                changed |= self.cells.write().remove(&state.shard).is_some();
                continue;
            }
            let only_times = self.cells.read().get(&state.shard).is_some_and(|cell| {
                let same = alike(&cell.state, &state) && cell.state.quiesced == state.quiesced;
                if same {
                    cell.lease_until_ns.store(state.lease_until_ns, Ordering::SeqCst);
                    cell.fresh_ns.store(state.fresh_ns, Ordering::SeqCst);
                }
                same
            });
            if !only_times {
                // Whether a group rests is no news for others.
                changed |= !self.cells.read().get(&state.shard).is_some_and(|cell| alike(&cell.state, &state));
                let cell = Cell {
                    lease_until_ns: AtomicU64::new(state.lease_until_ns),
                    fresh_ns: AtomicU64::new(state.fresh_ns),
                    asked: AtomicBool::new(false),
                    state: Arc::new(state),
                };
                self.cells.write().insert(cell.state.shard, cell);
            }
        }
        if changed {
            self.changes.send_modify(|version| *version += 1);
        }
    }

    /// From now on nothing of the replica here is served, until it is gone.
    pub(crate) fn refuse(&self, shard: ShardId) {
        self.refused.write().insert(shard);
    }

    pub(crate) fn refused(&self) -> BTreeSet<ShardId> {
        self.refused.read().clone()
    }

    pub(crate) fn is_refused(&self, shard: ShardId) -> bool {
        self.refused.read().contains(&shard)
    }

    pub(crate) fn lease(&self, shard: ShardId) -> Option<Lease> {
        if self.is_refused(shard) {
            return None;
        }
        let cells = self.cells.read();
        let cell = cells.get(&shard)?;
        // Looked at first: all readers share the line.
        if !cell.asked.load(Ordering::Relaxed) {
            cell.asked.store(true, Ordering::Relaxed);
        }
        (cell.state.role == Role::Leader)
            .then(|| Lease { term: cell.state.term, until_ns: cell.lease_until_ns.load(Ordering::SeqCst) })
    }

    /// Shards whose lease was asked for since the last question.
    pub(crate) fn take_asked(&self) -> Vec<ShardId> {
        let cells = self.cells.read();
        let asked = |cell: &Cell| cell.asked.load(Ordering::Relaxed) && cell.asked.swap(false, Ordering::Relaxed);
        cells.iter().filter(|(_, cell)| asked(cell)).map(|(shard, _)| *shard).collect()
    }

    /// Own clock at which the replica's state was complete; 0: unknown.
    pub(crate) fn fresh_ns(&self, shard: ShardId) -> u64 {
        if self.is_refused(shard) {
            return 0;
        }
        self.cells.read().get(&shard).map_or(0, |cell| cell.fresh_ns.load(Ordering::SeqCst))
    }

    pub(crate) fn get(&self, shard: ShardId) -> Option<Arc<Published>> {
        self.cells.read().get(&shard).map(|cell| cell.state.clone())
    }

    pub(crate) fn all(&self) -> Vec<Arc<Published>> {
        self.cells.read().values().map(|cell| cell.state.clone()).collect()
    }

    /// Notes a turn of the store's loop; 0: its last.
    pub(crate) fn turned(&self, now_ns: u64) {
        self.turned_ns.store(now_ns, Ordering::Relaxed);
    }

    /// How long ago the store's loop turned.
    pub(crate) fn stands_for(&self) -> Duration {
        match self.turned_ns.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            turned => Duration::from_nanos(clock::now_ns().saturating_sub(turned)),
        }
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Whether nothing differs but times, and whether the group rests.
fn alike(before: &Published, now: &Published) -> bool {
    let (lease_until_ns, fresh_ns, quiesced) = (before.lease_until_ns, before.fresh_ns, before.quiesced);
    Published { lease_until_ns, fresh_ns, quiesced, ..now.clone() } == *before
}
