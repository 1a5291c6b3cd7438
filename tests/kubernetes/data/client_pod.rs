//! The `granary` command in a pod of the image, as an application in the cluster would run.

use std::time::Duration;

use granary_tests::wait::until;
use serde_json::json;

use crate::{
    failure::Result,
    kubectl::{apply, kubectl},
};

/// Longest time for one command: the pod has to be scheduled and started.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `granary ARGUMENTS` in a pod of its own, which has to work; gives what it printed.
pub async fn granary_in_pod(namespace: &str, pod: &str, arguments: &[&str]) -> Result<String> {
    apply(&json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "granary",
                "image": "granary:0.1.0",
                "args": arguments,
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    }))
    .await?;
    let phase = ["-n", namespace, "get", "pod", pod, "-o", "jsonpath={.status.phase}"];
    until(&format!("granary {} in a pod", arguments.join(" ")), LIMIT, || async {
        match kubectl(&phase).await.map_err(|error| error.to_string())?.as_str() {
            "Succeeded" => Ok(Ok(())),
            "Failed" => Ok(Err(())),
            other => Err(format!("the pod is {other}")),
        }
    })
    .await?
    .or(Err(crate::failure::Failure(format!(
        "granary {} failed in a pod: {}",
        arguments.join(" "),
        kubectl(&["-n", namespace, "logs", pod]).await.unwrap_or_default()
    ))))?;
    let printed = kubectl(&["-n", namespace, "logs", pod]).await?;
    kubectl(&["-n", namespace, "delete", "pod", pod, "--grace-period=0", "--wait=false"]).await?;
    Ok(printed)
}
