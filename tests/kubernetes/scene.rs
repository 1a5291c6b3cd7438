//! What a scenario works with: its name, a client of the API server, and namespaces of its own.

use std::time::Instant;

use parking_lot::Mutex;
use serde_json::Value;

use crate::{cluster::Cluster, failure::Result, kubectl::apply, operator, tidy};

/// One run of one scenario.
pub struct Scene {
    /// Of the scenario.
    pub name: &'static str,
    /// Of the API server, as the administrator.
    pub client: kube::Client,
    started: Instant,
    namespaces: Mutex<Vec<String>>,
}

impl Scene {
    pub fn new(name: &'static str, client: kube::Client) -> Self {
        Self { name, client, started: Instant::now(), namespaces: Mutex::default() }
    }

    /// Says what goes on, with the seconds since the start.
    pub fn say(&self, words: impl AsRef<str>) {
        println!("  {:6.1}  {}", self.started.elapsed().as_secs_f64(), words.as_ref());
    }

    /// Makes a namespace that enforces `restricted`; `suffix` tells apart those of one scenario. Gives its name, such as
    /// s02-data.
    pub async fn namespace(&self, suffix: &str) -> Result<String> {
        let number = self.name.split('_').next().unwrap_or(self.name);
        let name = format!("s{number}-{suffix}");
        let mut namespace = operator::namespace(&name);
        namespace["metadata"]["labels"][tidy::LABEL] = Value::from(self.name);
        self.namespaces.lock().push(name.clone());
        apply(&namespace).await?;
        Ok(name)
    }

    /// The namespaces made so far.
    pub fn namespaces(&self) -> Vec<String> {
        self.namespaces.lock().clone()
    }

    /// A cluster `demo` in a namespace of its own, applied, not waited for. `changes` are merged over the spec of
    /// [`crate::cluster::wish`].
    pub async fn cluster(&self, changes: Value) -> Result<Cluster> {
        let namespace = self.namespace("data").await?;
        let cluster = Cluster::new(&self.client, &namespace, "demo");
        cluster.apply(changes).await?;
        Ok(cluster)
    }
}
