//! What is kept of a scenario that failed: objects, events, and logs of all pods, the operator's among them, in
//! failures/NAME beside the report.

use std::{fs, path::Path};

use crate::{commands::run_within, operator, report};

/// Kinds whose objects are kept, as kubectl names them.
const KINDS: &str = "gsc,sts,pod,pvc,svc,pdb,networkpolicy,serviceaccount,lease,deployment";

/// Saves what there is. Nothing here fails: what cannot be had is left out.
pub async fn save(name: &str, namespaces: &[String], why: &str) {
    let folder = report::folder().join("failures").join(name);
    let folder = folder.as_path();
    let _ = fs::remove_dir_all(folder);
    let _ = fs::create_dir_all(folder);
    let _ = fs::write(folder.join("failure.txt"), format!("{why}\n"));
    keep(folder, "nodes-and-volumes.txt", &["get", "node,pv", "-o", "wide"]).await;
    keep(folder, "nodes.txt", &["describe", "node"]).await;
    for namespace in namespaces.iter().map(String::as_str).chain([operator::NAMESPACE]) {
        let folder = folder.join(namespace);
        let _ = fs::create_dir_all(&folder);
        keep(&folder, "objects.txt", &["-n", namespace, "get", KINDS, "-o", "wide"]).await;
        keep(&folder, "objects.yaml", &["-n", namespace, "get", KINDS, "-o", "yaml"]).await;
        keep(&folder, "describe.txt", &["-n", namespace, "describe", "gsc,pod,pvc"]).await;
        keep(&folder, "events.txt", &["-n", namespace, "get", "events", "--sort-by=.lastTimestamp"]).await;
        let names = run_within(LIMIT, "kubectl", &["-n", namespace, "get", "pod", "-o", "name"], "").await;
        for pod in names.map(|done| done.stdout).unwrap_or_default().lines() {
            let file = pod.rsplit('/').next().unwrap_or(pod);
            keep(&folder, &format!("{file}.log"), &["-n", namespace, "logs", pod, "--all-containers"]).await;
            let previous = ["-n", namespace, "logs", pod, "--all-containers", "--previous"];
            keep(&folder, &format!("{file}.previous.log"), &previous).await;
        }
    }
    println!("kept for a look: {}", folder.display());
}

/// Longest wait for one command: a Kubernetes node may be cut off.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

async fn keep(folder: &Path, file: &str, arguments: &[&str]) {
    if let Ok(done) = run_within(LIMIT, "kubectl", arguments, "").await
        && !(done.stdout.is_empty() && file.ends_with(".previous.log"))
    {
        let _ = fs::write(folder.join(file), format!("{}{}", done.stdout, done.stderr));
    }
}
