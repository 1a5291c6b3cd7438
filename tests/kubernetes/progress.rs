//! Looks at a StorageCluster's status while something goes on, as `kubectl get -w` does: was progress to be seen?

use std::sync::Arc;

use futures::StreamExt as _;
use granary_crds::StorageCluster;
use kube::{
    Api,
    runtime::{WatchStreamExt as _, watcher},
};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

/// In how many of the statuses something was to be seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// All of them.
    pub statuses: usize,
    /// With steps in the plan.
    pub planned: usize,
    /// With data on the move.
    pub migrating: usize,
    /// Different phases, in their order.
    pub phases: Vec<String>,
}

/// A watch that goes on until it is ended.
pub struct Progress {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Progress {
    /// Watches the StorageClusters of a namespace.
    pub fn watch(client: &kube::Client, namespace: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let api: Api<StorageCluster> = Api::namespaced(client.clone(), namespace);
        let mut changes = watcher(api, watcher::Config::default()).default_backoff().applied_objects().boxed();
        let into = seen.clone();
        let task = tokio::spawn(async move {
            while let Some(change) = changes.next().await {
                if let Ok(cluster) = change {
                    into.lock().add(&cluster);
                }
            }
        });
        Self { seen, task }
    }

    /// Ends it.
    pub async fn end(self) -> Seen {
        self.task.abort();
        let _ = self.task.await;
        self.seen.lock().clone()
    }
}

impl Seen {
    fn add(&mut self, cluster: &StorageCluster) {
        let Some(status) = &cluster.status else { return };
        self.statuses += 1;
        self.planned += usize::from(!status.plan.is_empty());
        self.migrating += usize::from(status.migration.is_some());
        let phase = format!("{:?}", status.phase);
        if self.phases.last() != Some(&phase) {
            self.phases.push(phase);
        }
    }
}
