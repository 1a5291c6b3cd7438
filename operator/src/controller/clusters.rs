//! Which clusters there are: watches StorageClusters and keeps a loop for each, side by side. A loop knows one cluster
//! and is ended when its object is gone; none waits for another, but for its turn among [`super::context::ROUNDS`].

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{
    StreamExt as _,
    stream::{BoxStream, select_all},
};
use granary_crds::StorageCluster;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{
    Api, Resource, ResourceExt as _,
    core::{DeserializeGuard, error_boundary::InvalidObject},
    runtime::{
        WatchStreamExt as _,
        reflector::ObjectRef,
        watcher::{self, Event},
    },
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    context::Context,
    round::{Next, Rounds},
    unreadable,
};

/// Shortest time between two rounds of one cluster.
const GAP: Duration = Duration::from_millis(100);

type Guarded = DeserializeGuard<StorageCluster>;
/// Namespace and name.
type Key = (String, String);
/// What one of the watches says; the number tells which one.
type Seen = (usize, Result<Event<Guarded>, watcher::Error>);

/// All clusters of one process.
pub struct Clusters {
    context: Arc<Context>,
    known: HashMap<Key, Cluster>,
    /// Version of each object that does not parse and was told.
    unreadable: HashMap<Key, Option<String>>,
    /// What each watch has listed since it began to list.
    listed: HashMap<usize, HashSet<Key>>,
    /// Which watch showed a cluster.
    shown_by: HashMap<Key, usize>,
}

/// One cluster's loop. Ended when dropped, in the middle of a round too: that is as good as a kill.
struct Cluster {
    uid: Option<String>,
    object: watch::Sender<Arc<StorageCluster>>,
    task: JoinHandle<()>,
    context: Arc<Context>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.task.abort();
        self.context.pages.metrics.forget(&self.object.borrow());
    }
}

impl Clusters {
    /// None yet.
    pub fn new(context: Arc<Context>) -> Self {
        let (known, unreadable) = (HashMap::new(), HashMap::new());
        Self { context, known, unreadable, listed: HashMap::new(), shown_by: HashMap::new() }
    }

    /// Follows the clusters of these namespaces (none given: of all) for ever. `triggers` are clusters of which something
    /// else changed.
    pub async fn run(mut self, namespaces: &[String], triggers: &mut mpsc::Receiver<ObjectRef<StorageCluster>>) {
        let mut watches = select_all(self.watches(namespaces));
        loop {
            tokio::select! {
                Some((watch, event)) = watches.next() => match event {
                    Ok(event) => self.take(watch, event),
                    Err(error) => tracing::warn!(%error, "the watch of StorageClusters was cut off and is taken up again"),
                },
                Some(cluster) = triggers.recv() => {
                    let key = (cluster.namespace.unwrap_or_default(), cluster.name);
                    if let Some(cluster) = self.known.get(&key) {
                        cluster.object.send_modify(|_| ());
                    }
                }
            }
        }
    }

    fn watches(&self, namespaces: &[String]) -> Vec<BoxStream<'static, Seen>> {
        let client = &self.context.client;
        let all = || vec![Api::<Guarded>::all(client.clone())];
        let each = || namespaces.iter().map(|name| Api::namespaced(client.clone(), name)).collect();
        let apis: Vec<Api<Guarded>> = if namespaces.is_empty() { all() } else { each() };
        let events = |(number, api)| {
            let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
            events.map(move |event| (number, event)).boxed()
        };
        apis.into_iter().enumerate().map(events).collect()
    }

    fn take(&mut self, watch: usize, event: Event<Guarded>) {
        match event {
            Event::Init => {
                self.listed.insert(watch, HashSet::new());
            }
            Event::InitApply(object) => {
                self.listed.entry(watch).or_default().insert(key(object.meta()));
                self.apply(watch, object);
            }
            Event::InitDone => {
                let listed = self.listed.remove(&watch).unwrap_or_default();
                let gone = |(key, by): (&Key, &usize)| (*by == watch && !listed.contains(key)).then(|| key.clone());
                for key in self.shown_by.iter().filter_map(gone).collect::<Vec<_>>() {
                    self.forget(&key);
                }
            }
            Event::Apply(object) => self.apply(watch, object),
            Event::Delete(object) => self.forget(&key(object.meta())),
        }
    }

    fn forget(&mut self, key: &Key) {
        self.known.remove(key);
        self.unreadable.remove(key);
        self.shown_by.remove(key);
    }

    fn apply(&mut self, watch: usize, DeserializeGuard(object): Guarded) {
        match object {
            Ok(object) => {
                let key = key(&object.metadata);
                self.shown_by.insert(key.clone(), watch);
                self.unreadable.remove(&key);
                self.follow(key, Arc::new(object));
            }
            Err(broken) => {
                let key = key(&broken.metadata);
                self.shown_by.insert(key.clone(), watch);
                self.set_aside(key, broken);
            }
        }
    }

    fn follow(&mut self, key: Key, object: Arc<StorageCluster>) {
        match self.known.get(&key) {
            Some(cluster) if cluster.uid == object.uid() => cluster.object.send_if_modified(|known| {
                let wakes = asks(known) != asks(&object);
                *known = object;
                wakes
            }),
            // New, or made anew: another cluster of the same name.
            _ => self.known.insert(key, start(self.context.clone(), object)).is_some(),
        };
    }

    /// Told once for each version of its spec; nothing is done about it.
    fn set_aside(&mut self, key: Key, broken: InvalidObject) {
        self.known.remove(&key);
        let generation = broken.metadata.generation.map(|generation| generation.to_string());
        let version = generation.or_else(|| broken.metadata.resource_version.clone());
        if self.unreadable.insert(key, version.clone()) != Some(version) {
            let (client, pod) = (self.context.client.clone(), self.context.pod.clone());
            tokio::spawn(unreadable::tell(client, pod, broken));
        }
    }
}

fn key(meta: &ObjectMeta) -> Key {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// What of an object wakes its loop: all but its status, which the loop itself writes.
fn asks(object: &StorageCluster) -> impl PartialEq {
    let meta = &object.metadata;
    let deleted: Option<Time> = meta.deletion_timestamp.clone();
    (meta.generation, meta.annotations.clone(), meta.finalizers.clone(), deleted)
}

fn start(context: Arc<Context>, object: Arc<StorageCluster>) -> Cluster {
    let uid = object.uid();
    let rounds = Rounds::new(context.clone(), &object);
    let (sender, receiver) = watch::channel(object);
    let task = tokio::spawn(run(context.clone(), rounds, receiver));
    Cluster { uid, object: sender, task, context }
}

async fn run(context: Arc<Context>, mut rounds: Rounds, mut object: watch::Receiver<Arc<StorageCluster>>) {
    loop {
        let next = {
            let Ok(_turn) = context.turns.acquire().await else { return };
            let newest = object.borrow_and_update().clone();
            rounds.round(newest).await
        };
        match next {
            Next::After(pause) => {
                tokio::time::sleep(GAP).await;
                // The sender lives as long as this task.
                let _ = tokio::time::timeout(pause.saturating_sub(GAP), object.changed()).await;
            }
            Next::End(error) => {
                // Full: another cluster has said it.
                let _ = context.end.try_send(error);
                return;
            }
        }
    }
}
