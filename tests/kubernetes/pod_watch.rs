//! Watches pods while something goes on: which there were, and how many stood still at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;

/// What was seen of the pods.
#[derive(Clone, Debug, Default)]
pub struct PodsSeen {
    /// Uids by name: two mean that the pod was made anew once.
    pub uids: BTreeMap<String, BTreeSet<String>>,
    /// Containers that were started anew in their pods, all pods together.
    pub restarts: i32,
    /// Most pods that were missing, on their way out or without a running process at the same moment.
    pub most_down: usize,
    /// Whether its process runs, by name.
    up: BTreeMap<String, bool>,
    /// Starts of containers after the first one, by uid of the pod.
    restarted: BTreeMap<String, i32>,
}

/// A watch that goes on until it is ended.
pub struct PodWatch {
    seen: Arc<Mutex<PodsSeen>>,
    task: JoinHandle<()>,
}

impl PodWatch {
    /// Watches the pods of a cluster.
    pub fn of_cluster(client: &kube::Client, cluster: &Cluster) -> Self {
        Self::start(client, &cluster.namespace, &format!("granary.io/cluster={}", cluster.name))
    }

    /// Watches the pods with these labels.
    pub fn start(client: &kube::Client, namespace: &str, labels: &str) -> Self {
        let seen = Arc::new(Mutex::new(PodsSeen::default()));
        let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let mut events = watcher::watcher(api, watcher::Config::default().labels(labels)).default_backoff().boxed();
        let into = seen.clone();
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Apply(pod) | Event::InitApply(pod)) => into.lock().add(&pod),
                    Ok(Event::Delete(pod)) => into.lock().gone(&pod.name_any()),
                    Ok(Event::Init | Event::InitDone) | Err(_) => {}
                }
            }
        });
        Self { seen, task }
    }

    /// What was seen so far.
    pub fn seen(&self) -> PodsSeen {
        self.seen.lock().clone()
    }

    /// Ends it.
    pub async fn end(self) -> PodsSeen {
        self.task.abort();
        let _ = self.task.await;
        self.seen.lock().clone()
    }
}

impl PodsSeen {
    /// How often each pod was made anew.
    pub fn remade(&self) -> BTreeMap<String, usize> {
        self.uids.iter().map(|(name, uids)| (name.clone(), uids.len() - 1)).collect()
    }

    fn add(&mut self, pod: &Pod) {
        let (name, uid) = (pod.name_any(), pod.uid().unwrap_or_default());
        self.uids.entry(name.clone()).or_default().insert(uid.clone());
        let statuses = || pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        let runs = statuses().any(|one| one.state.as_ref().is_some_and(|state| state.running.is_some()));
        self.up.insert(name, runs && pod.metadata.deletion_timestamp.is_none());
        self.restarted.insert(uid, statuses().map(|one| one.restart_count).sum());
        self.count();
    }

    fn gone(&mut self, name: &str) {
        self.up.insert(name.to_owned(), false);
        self.count();
    }

    fn count(&mut self) {
        self.most_down = self.most_down.max(self.up.values().filter(|up| !**up).count());
        self.restarts = self.restarted.values().sum();
    }
}
