//! Tells the store that messages to a node were lost: at once, and no more than once per 100 ms and node. None is
//! forgotten: what comes too early is told when its time has come.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use granary_common::NodeId;
use granary_store::Event;
use parking_lot::Mutex;
use tokio::{runtime::Handle, time::Instant};

use crate::drivers::StoreHandle;

const APART: Duration = Duration::from_millis(100);

/// Tells the store, once it is attached.
pub(crate) struct Unreachable {
    runtime: Handle,
    store: OnceLock<StoreHandle>,
    nodes: Mutex<HashMap<NodeId, Told>>,
}

#[derive(Default)]
struct Told {
    last: Option<Instant>,
    pending: bool,
}

impl Unreachable {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { runtime, store: OnceLock::new(), nodes: Mutex::default() }
    }

    pub(crate) fn attach(&self, store: StoreHandle) {
        // A second store of one process would be the same one.
        let _ = self.store.set(store);
    }

    /// Never blocks, not even on the store's own thread.
    pub(crate) fn tell(self: &Arc<Self>, node: NodeId) {
        let due = {
            let mut nodes = self.nodes.lock();
            let told = nodes.entry(node).or_default();
            if told.pending {
                return;
            }
            told.pending = true;
            told.last.map(|last| last + APART)
        };
        let this = self.clone();
        self.runtime.spawn(async move {
            if let Some(due) = due {
                tokio::time::sleep_until(due).await;
            }
            this.nodes.lock().insert(node, Told { last: Some(Instant::now()), pending: false });
            if let Some(store) = this.store.get() {
                store.event(Event::Unreachable { node });
            }
        });
    }
}
