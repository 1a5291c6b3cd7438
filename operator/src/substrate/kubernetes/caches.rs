//! Watches, one for each kind and namespace, shared by all clusters: what a round looks at without asking the API
//! server. What is missing here may only be late: it is read by name before anything is concluded from it.

use std::{fmt::Debug, hash::Hash, sync::Arc};

use futures::{StreamExt as _, future::join_all};
use granary_crds::StorageCluster;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Node, PersistentVolumeClaim, Pod},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::ListParams,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    api::label,
    names::{LABEL_CLUSTER, LABEL_MANAGED_BY, MANAGER},
};

/// Most clusters that wait to be looked at. What does not fit is dropped: every cluster is looked at again within
/// seconds anyway.
const TRIGGERS: usize = 1024;

/// Why the watches could not be set up.
#[derive(Debug, Error)]
#[error("the API server cannot be asked for {what}: {source}")]
pub struct CacheError {
    what: &'static str,
    source: Box<kube::Error>,
}

/// What is watched.
pub struct Caches {
    sets: Vec<Store<StatefulSet>>,
    pods: Vec<Store<Pod>>,
    claims: Vec<Store<PersistentVolumeClaim>>,
    /// `None`: the operator may not read Kubernetes nodes.
    nodes: Option<Store<Node>>,
}

/// The watches at work.
pub struct Watches {
    /// What was seen so far.
    pub caches: Arc<Caches>,
    /// Clusters of which something changed.
    pub triggers: mpsc::Receiver<ObjectRef<StorageCluster>>,
    /// Ends only when the process does.
    pub tasks: JoinSet<()>,
}

impl Caches {
    /// Starts watching in these namespaces; none given: in all.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn start(client: &Client, namespaces: &[String]) -> Result<Watches, CacheError> {
        let (sender, triggers) = mpsc::channel(TRIGGERS);
        let mut tasks = JoinSet::new();
        let scopes: Vec<Option<&str>> = if namespaces.is_empty() {
            vec![None]
        } else {
            namespaces.iter().map(|name| Some(name.as_str())).collect()
        };
        let mut caches = Self { sets: Vec::new(), pods: Vec::new(), claims: Vec::new(), nodes: None };
        for scope in scopes {
            caches.sets.push(follow(scoped(client, scope), Some(sender.clone()), &mut tasks));
            caches.pods.push(follow(scoped(client, scope), Some(sender.clone()), &mut tasks));
            caches.claims.push(follow(scoped(client, scope), Some(sender.clone()), &mut tasks));
        }
        if may_read_nodes(client).await? {
            caches.nodes = Some(follow(Api::all(client.clone()), None, &mut tasks));
        }
        Ok(Watches { caches: Arc::new(caches), triggers, tasks })
    }

    /// Completes when everything has been listed once.
    pub async fn ready(&self) {
        async fn all<K>(stores: &[Store<K>])
        where
            K: Resource<DynamicType = ()> + Clone + 'static,
        {
            // An error means that the watch has ended, as it does when the process ends.
            let _ = join_all(stores.iter().map(Store::wait_until_ready)).await;
        }
        all(&self.sets).await;
        all(&self.pods).await;
        all(&self.claims).await;
        all(self.nodes.as_slice()).await;
    }

    /// Those of one cluster.
    pub(super) fn sets(&self, namespace: &str, cluster: &str) -> Vec<Arc<StatefulSet>> {
        of(&self.sets, namespace, cluster)
    }

    /// Those of one cluster.
    pub(super) fn pods(&self, namespace: &str, cluster: &str) -> Vec<Arc<Pod>> {
        of(&self.pods, namespace, cluster)
    }

    /// Those of one cluster.
    pub(super) fn claims(&self, namespace: &str, cluster: &str) -> Vec<Arc<PersistentVolumeClaim>> {
        of(&self.claims, namespace, cluster)
    }

    /// All Kubernetes nodes; `None` without the right to read them.
    pub(super) fn nodes(&self) -> Option<Vec<Arc<Node>>> {
        self.nodes.as_ref().map(Store::state)
    }
}

fn of<K>(stores: &[Store<K>], namespace: &str, cluster: &str) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let ours =
        |object: &K| object.namespace().as_deref() == Some(namespace) && label(object, LABEL_CLUSTER) == Some(cluster);
    stores.iter().flat_map(|store| store.state_filter(ours)).collect()
}

fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Watches one kind for as long as the process runs. With `triggers` only what the operator looks after.
fn follow<K>(
    api: Api<K>,
    triggers: Option<mpsc::Sender<ObjectRef<StorageCluster>>>,
    tasks: &mut JoinSet<()>,
) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Hash + Eq,
{
    let (store, writer) = reflector::store();
    let mut config = watcher::Config::default();
    if triggers.is_some() {
        config = config.labels(&format!("{LABEL_MANAGED_BY}={MANAGER}"));
    }
    let events = reflector::reflector(writer, watcher(api, config).modify(trim).default_backoff()).touched_objects();
    tasks.spawn(events.for_each(move |event| {
        match event {
            Ok(object) => {
                let cluster = label(&object, LABEL_CLUSTER).zip(object.namespace());
                if let (Some(triggers), Some((cluster, namespace))) = (&triggers, cluster) {
                    // Full: see TRIGGERS.
                    let _ = triggers.try_send(ObjectRef::new(cluster).within(&namespace));
                }
            }
            Err(error) => tracing::warn!(kind = %K::kind(&()), %error, "a watch was cut off and is taken up again"),
        }
        std::future::ready(())
    }));
    store
}

/// What nobody reads and what is large.
fn trim<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

async fn may_read_nodes(client: &Client) -> Result<bool, CacheError> {
    match Api::<Node>::all(client.clone()).list_metadata(&ListParams::default().limit(1)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(false),
        Err(source) => Err(CacheError { what: "Kubernetes nodes", source: Box::new(source) }),
    }
}
