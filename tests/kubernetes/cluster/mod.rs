//! One StorageCluster: what users do with it, what they see of it, and what only tests look at.

mod nodes;
mod objects;
mod status;
mod untouched;
pub mod wish;

use std::time::{Duration, Instant};

use granary_crds::StorageCluster;
use granary_tests::{wait::until, writer::Writer};
use kube::Api;
use parking_lot::Mutex;
use serde_json::{Value, json};

pub use self::nodes::State;
pub use self::status::{condition, reason, refused_condition, said};
use crate::{
    failure::{Failure, Result},
    kubectl::{apply, kubectl},
};

/// Longest time for anything that a scenario sets no limit of its own: the machine may be busy with much else.
pub const LIMIT: Duration = Duration::from_secs(240);

/// One StorageCluster.
pub struct Cluster {
    pub namespace: String,
    pub name: String,
    client: kube::Client,
    api: Api<StorageCluster>,
}

impl Cluster {
    /// A handle; nothing is made.
    pub fn new(client: &kube::Client, namespace: &str, name: &str) -> Self {
        let api = Api::namespaced(client.clone(), namespace);
        Self { namespace: namespace.to_owned(), name: name.to_owned(), client: client.clone(), api }
    }

    /// `kubectl apply` of [`wish::small`] with changes merged over its spec.
    pub async fn apply(&self, changes: Value) -> Result<()> {
        apply(&self.wish(changes)).await
    }

    /// What [`Cluster::apply`] applies.
    pub fn wish(&self, changes: Value) -> Value {
        wish::small(&self.namespace, &self.name, changes)
    }

    /// `kubectl patch --type=merge` of the spec.
    pub async fn patch(&self, spec: Value) -> Result<()> {
        let patch = json!({ "spec": spec }).to_string();
        self.kubectl(&["patch", "gsc", &self.name, "--type=merge", "-p", &patch]).await.map(drop)
    }

    /// `kubectl scale gsc NAME --replicas=N`.
    pub async fn scale(&self, replicas: u32) -> Result<()> {
        self.kubectl(&["scale", "gsc", &self.name, &format!("--replicas={replicas}")]).await.map(drop)
    }

    /// Scales, and waits until that is done; gives how long it took.
    pub async fn scaled(&self, replicas: u32) -> Result<Duration> {
        let started = Instant::now();
        self.scale(replicas).await?;
        self.ready(i32::try_from(replicas)?).await?;
        Ok(started.elapsed())
    }

    /// `kubectl delete gsc NAME`, until it is gone.
    pub async fn delete(&self) -> Result<()> {
        self.kubectl(&["delete", "gsc", &self.name, "--timeout=120s"]).await.map(drop)
    }

    /// kubectl in the cluster's namespace, which has to work; gives its output.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        kubectl(&[&["-n", self.namespace.as_str()], arguments].concat()).await
    }

    /// The StorageCluster as it is stored.
    pub async fn get(&self) -> Result<StorageCluster> {
        Ok(self.api.get(&self.name).await?)
    }

    /// Waits until the StorageCluster is as wanted; `wanted` says what is not yet. A timeout says that and the whole status.
    pub async fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&StorageCluster) -> std::result::Result<(), String>,
    ) -> Result<StorageCluster> {
        let last = Mutex::new(String::new());
        let waited = until(what, limit, || async {
            let cluster = self.api.get(&self.name).await.map_err(|error| error.to_string())?;
            *last.lock() = said(&cluster);
            wanted(&cluster).map(|()| cluster)
        });
        waited.await.map_err(|error| Failure(format!("{error}; the status was: {}", last.lock())))
    }

    /// Waits until this generation is planned and all of it is done, with so many members.
    pub async fn ready(&self, members: i32) -> Result<StorageCluster> {
        self.ready_within(members, LIMIT).await
    }

    /// The same with a limit.
    pub async fn ready_within(&self, members: i32, limit: Duration) -> Result<StorageCluster> {
        self.wait_for(&format!("Ready with {members} members"), limit, |cluster| status::ready(cluster, members)).await
    }

    /// Waits until a condition is as said, whatever its generation.
    pub async fn condition(&self, kind: &str, status: &str, limit: Duration) -> Result<StorageCluster> {
        self.wait_for(&format!("condition {kind} is {status}"), limit, |cluster| condition(cluster, kind, status)).await
    }

    /// A writer that remembers every acknowledgement, with a task for each shard, each writing again after `pause`.
    pub async fn writer(&self, pause: Duration) -> Result<Writer> {
        let shards = u32::try_from(self.get().await?.spec.shards)?;
        Ok(Writer::start(self.endpoints().await?, shards, pause).await?)
    }
}
