//! An API server of the tests' own, for odd answers. It proves nothing about the real one.

use std::sync::Arc;

use axum::{Router, body::Bytes, extract::Request, http::StatusCode, response::IntoResponse as _};
use granary_crds::{StorageCluster, StorageClusterSpec};
use kube::{Api, Client, Config, api::ObjectMeta};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub body: Value,
}

/// Answers everything by one function.
pub struct FakeApi {
    client: Client,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl FakeApi {
    pub async fn start(answer: impl Fn(&Seen) -> (StatusCode, Value) + Send + Sync + 'static) -> Self {
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (log, answer) = (seen.clone(), Arc::new(answer));
        let router = Router::new().fallback(move |request: Request| {
            let (log, answer) = (log.clone(), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let seen = Seen { path: parts.uri.path().to_owned(), body };
                let (status, value) = answer(&seen);
                log.lock().push(seen);
                (status, [("content-type", "application/json")], value.to_string()).into_response()
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { client: Client::try_from(Config::new(url.parse().unwrap())).unwrap(), seen }
    }

    pub fn client(&self) -> Client {
        self.client.clone()
    }

    pub fn clusters(&self) -> Api<StorageCluster> {
        Api::namespaced(self.client(), "default")
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }
}

/// A sound object.
pub fn object(name: &str) -> StorageCluster {
    let spec = json!({ "replicas": 3, "replicationFactor": 3, "image": "granary:0.1.0" });
    let spec: StorageClusterSpec = serde_json::from_value(spec).unwrap();
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some("default".to_owned()),
        uid: Some(format!("uid-of-{name}")),
        resource_version: Some("1".to_owned()),
        generation: Some(1),
        ..ObjectMeta::default()
    };
    StorageCluster { metadata, spec, status: None }
}
