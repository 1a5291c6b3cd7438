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

/// After the last scenario: the namespaces, which were deleted when they were empty, are gone.
pub async fn last() -> Result<()> {
    let selector = format!("--selector={LABEL}");
    until("the namespaces of all scenarios are gone", GONE, || gone(&selector)).await?;
    Ok(())
}

async fn machines_back() -> Result<()> {
    if !machines::take_touched() && nodes_as_new().await? {
        return Ok(());
    }
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

/// Whether every Kubernetes node is there, Ready, and open to pods.
async fn nodes_as_new() -> Result<bool> {
    let nodes = get_json(&["node"]).await?;
    let nodes: Vec<_> = nodes["items"].as_array().into_iter().flatten().collect();
    let as_new = nodes.iter().filter(|node| {
        let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions.filter(|condition| condition["type"] == "Ready").any(|ready| ready["status"] == "True");
        ready && node["spec"]["unschedulable"] != true && node["spec"]["taints"].is_null()
    });
    Ok(as_new.count() == machines::NODES.len() && nodes.len() == machines::NODES.len())
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

/// What is in the namespaces, before they are deleted themselves: Kubernetes looks at a namespace that still has pods only
/// after half a minute again. What does not go is left to the namespace's deletion.
async fn empty_namespaces(selector: &str) -> Result<()> {
    let _ = try_kubectl(&["delete", "gsc", "--all-namespaces", "--all", "--timeout=40s"], "").await;
    let names = kubectl(&["get", "namespace", selector, "-o", "name"]).await?;
    let emptied = names.lines().map(|name| async move {
        let namespace = name.trim_start_matches("namespace/");
        let kinds = "statefulset,deployment,job,pod,pvc";
        let _ = try_kubectl(&["-n", namespace, "delete", kinds, "--all", "--timeout=30s"], "").await;
    });
    futures::future::join_all(emptied).await;
    Ok(())
}

/// Gives what had to be removed by force.
async fn remove_namespaces() -> Result<String> {
    let selector = format!("--selector={LABEL}");
    empty_namespaces(&selector).await?;
    let is_empty = are_empty(&selector).await?;
    kubectl(&["delete", "namespace", &selector, "--wait=false"]).await?;
    // Empty ones go by themselves while the next scenario runs.
    if is_empty || until("the namespaces are gone", GONE, || gone(&selector)).await.is_ok() {
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
    until("the namespaces are gone by force", GONE, || gone(&selector)).await?;
    Ok(if left.is_empty() { names } else { left.join(" ") })
}

async fn are_empty(selector: &str) -> Result<bool> {
    for namespace in kubectl(&["get", "namespace", selector, "-o", "name"]).await?.lines() {
        let namespace = namespace.trim_start_matches("namespace/");
        if !kubectl(&["-n", namespace, "get", "gsc,pod,pvc", "-o", "name"]).await?.trim().is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn gone(selector: &str) -> std::result::Result<(), String> {
    let names = kubectl(&["get", "namespace", selector, "-o", "name"]).await.map_err(|error| error.to_string())?;
    if names.trim().is_empty() { Ok(()) } else { Err(names.replace('\n', " ")) }
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
