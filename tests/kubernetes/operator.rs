//! The operator as it is installed for all scenarios: release `granary` of charts/granary in granary-system, two replicas.

use std::{fs, time::UNIX_EPOCH};

use serde_json::{Value, json};

use crate::{
    failure::Result,
    helm::{helm, repository},
    kubectl::{apply, get_json, kubectl},
};

/// Where it is installed.
pub const NAMESPACE: &str = "granary-system";
/// Name of the release.
pub const RELEASE: &str = "granary";
/// Its Deployment and its Lease.
pub const NAME: &str = "granary-operator";

/// Installs it, or brings it back to how the scenarios expect it; returns when it is rolled out.
pub async fn install() -> Result<()> {
    upgrade(&[]).await
}

/// The same with other values (`--set ...`). [`mend`] brings it back.
pub async fn upgrade(values: &[&str]) -> Result<()> {
    apply(&namespace(NAMESPACE)).await?;
    let (chart, image) = (repository("charts/granary"), format!("podAnnotations.image={}", image_stamp()));
    let release = ["upgrade", "--install", RELEASE, &chart, "--namespace", NAMESPACE, "--reset-values"];
    helm(&[&release[..], &["--set-string", &image, "--wait", "--timeout", "150s"], values].concat()).await?;
    Ok(())
}

/// Installs it again if it is not as [`install`] left it.
pub async fn mend() -> Result<()> {
    let deployment = get_json(&["-n", NAMESPACE, "deployment", NAME, "--ignore-not-found"]).await.unwrap_or_default();
    let is = |path: &str| deployment.pointer(path).and_then(Value::as_u64);
    let (wanted, ready) = (is("/spec/replicas"), is("/status/readyReplicas"));
    let generations = (is("/metadata/generation"), is("/status/observedGeneration"));
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    // The chart itself sets two.
    let own = container["image"] == "granary:0.1.0" && container["env"].as_array().is_some_and(|env| env.len() == 2);
    let whole = wanted == Some(2) && ready == Some(2) && generations.0 == generations.1 && own;
    if whole { Ok(()) } else { install().await }
}

/// A namespace that enforces the restricted Pod Security level.
pub fn namespace(name: &str) -> Value {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// Waits until all of its pods are ready.
pub async fn ready() -> Result<()> {
    let deployment = format!("deployment/{NAME}");
    kubectl(&["-n", NAMESPACE, "rollout", "status", &deployment, "--timeout=120s"]).await.map(drop)
}

/// Names of its pods.
pub async fn pods() -> Result<Vec<String>> {
    let selector = "app.kubernetes.io/name=granary-operator";
    let names = kubectl(&["-n", NAMESPACE, "get", "pod", "-l", selector, "-o", "name"]).await?;
    Ok(names.lines().map(|name| name.trim_start_matches("pod/").to_owned()).collect())
}

/// The pod that holds the Lease.
pub async fn holder() -> Result<String> {
    let lease = get_json(&["-n", NAMESPACE, "lease", NAME]).await?;
    Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
}

/// Sets the number of its pods.
pub async fn scale(replicas: u32) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    kubectl(&["-n", NAMESPACE, "scale", "deployment", NAME, &replicas]).await.map(drop)
}

/// Changes with the image, so that the pods are made anew with it under its old name.
fn image_stamp() -> String {
    let archive = fs::metadata(repository("target/kubernetes/images/granary-0.1.0.tar"));
    let changed = archive.and_then(|about| about.modified()).ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    changed.unwrap_or_default().as_millis().to_string()
}
