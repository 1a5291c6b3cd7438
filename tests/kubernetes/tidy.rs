//! Puts everything back after a scenario: machines, the operator, namespaces, volumes. What cannot be removed in the usual
//! way is removed by force, and that is said.

use std::time::Duration;

use granary_tests::wait::until;
use serde_json::Value;

use crate::{
    failure::{Result, failed},
    helm::helm,
    kubectl::{get_json, kubectl, try_kubectl},
    machines, operator,
};

/// Label of every namespace that a scenario made.
pub const LABEL: &str = "testbed.granary.io/scenario";
/// Longest time for namespaces to go by themselves.
const GONE: Duration = Duration::from_secs(90);
/// Longest time for Kubernetes nodes to be Ready again.
const NODES_READY: Duration = Duration::from_secs(90);

/// Cleans up after a scenario, or after an earlier run.
pub async fn all(namespaces: &[String]) -> Result<()> {
    machines_back().await?;
    // Deleting needs the operator: finalizers are its own.
    if !namespaces.is_empty() {
        remove_releases().await?;
        operator::mend().await?;
    }
    let left = remove_namespaces().await?;
    remove_volumes().await?;
    if left.is_empty() { Ok(()) } else { failed(format!("left behind, removed by force: {left}")) }
}

async fn machines_back() -> Result<()> {
    for node in machines::NODES {
        machines::link_up(node).await?;
        // Fails when it is on, as it nearly always is.
        let _ = machines::power_on(node).await;
    }
    for node in machines::NODES {
        // A scenario may have deleted it; its kubelet registers it again when it starts.
        let _ = try_kubectl(&["uncordon", node], "").await;
        let _ = try_kubectl(&["taint", "node", node, "node.kubernetes.io/out-of-service-"], "").await;
    }
    until("all Kubernetes nodes are Ready", NODES_READY, || async {
        let done = try_kubectl(&["wait", "--for=condition=Ready", "node", "--all", "--timeout=5s"], "").await;
        let done = done.map_err(|error| error.to_string())?;
        let ready = done.stdout.lines().count() == machines::NODES.len() && done.code == 0;
        if ready { Ok(()) } else { Err(format!("{} {}", done.stdout, done.stderr)) }
    })
    .await?;
    Ok(())
}

/// What scenarios installed beside the operator of all of them, such as a second one.
async fn remove_releases() -> Result<()> {
    let installed: Value = serde_json::from_str(&helm(&["list", "--all-namespaces", "--all", "-o", "json"]).await?)?;
    for release in installed.as_array().into_iter().flatten() {
        let (name, namespace) = (release["name"].as_str(), release["namespace"].as_str());
        let (name, namespace) = (name.unwrap_or_default(), namespace.unwrap_or_default());
        if (name, namespace) != (operator::RELEASE, operator::NAMESPACE) {
            helm(&["uninstall", name, "--namespace", namespace, "--wait", "--timeout", "60s"]).await?;
        }
    }
    Ok(())
}

/// Gives what had to be removed by force.
async fn remove_namespaces() -> Result<String> {
    let selector = format!("--selector={LABEL}");
    kubectl(&["delete", "namespace", &selector, "--wait=false"]).await?;
    let gone = || async {
        let names = kubectl(&["get", "namespace", &selector, "-o", "name"]).await.map_err(|error| error.to_string())?;
        if names.trim().is_empty() { Ok(()) } else { Err(names.replace('\n', " ")) }
    };
    if until("the namespaces are gone", GONE, gone).await.is_ok() {
        return Ok(String::new());
    }
    let names = kubectl(&["get", "namespace", &selector, "-o", "name"]).await?;
    let mut left = Vec::new();
    for namespace in names.lines().map(|name| name.trim_start_matches("namespace/")) {
        for kind in ["gsc", "pod", "pvc"] {
            for object in kubectl(&["-n", namespace, "get", kind, "-o", "name"]).await?.lines() {
                left.push(format!("{namespace}/{object}"));
                let unhook =
                    ["-n", namespace, "patch", object, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
                let _ = try_kubectl(&unhook, "").await;
            }
        }
        let _ = try_kubectl(&["-n", namespace, "delete", "pod", "--all", "--force", "--grace-period=0"], "").await;
    }
    until("the namespaces are gone by force", GONE, gone).await?;
    Ok(if left.is_empty() { names } else { left.join(" ") })
}

/// Local volumes are made anew. Of the others, those that no claim holds are deleted with what is on them.
async fn remove_volumes() -> Result<()> {
    let volumes = get_json(&["pv"]).await?;
    for volume in volumes["items"].as_array().into_iter().flatten() {
        let (name, phase) =
            (volume["metadata"]["name"].as_str().unwrap_or_default(), volume["status"]["phase"].as_str());
        let is_local = volume["spec"]["local"] != Value::Null;
        if !is_local && phase != Some("Bound") {
            // The driver removes the image file of a volume that was released with this policy.
            let policy = r#"{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}"#;
            let _ = try_kubectl(&["patch", "pv", name, "-p", policy], "").await;
        }
    }
    machines::renew_volumes().await
}
