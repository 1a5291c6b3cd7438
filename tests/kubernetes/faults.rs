//! What goes wrong on purpose. Cables, power and disks are in `machines`.

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    cluster::Cluster,
    failure::{Failure, Result, failed},
    kubectl::{kubectl, try_kubectl},
    machines,
};

/// Kills the process of a pod's container at once (SIGKILL); Kubernetes starts it again.
pub async fn kill(cluster: &Cluster, pod: &str) -> Result<()> {
    for pid in pids(cluster, pod).await? {
        signal(pid, Signal::KILL)?;
    }
    Ok(())
}

/// A process that stands still. It goes on when this is dropped.
pub struct Stopped(Vec<Pid>);

/// Stops the process of a pod's container (SIGSTOP).
pub async fn stop(cluster: &Cluster, pod: &str) -> Result<Stopped> {
    let pids = pids(cluster, pod).await?;
    for pid in &pids {
        signal(*pid, Signal::STOP)?;
    }
    Ok(Stopped(pids))
}

/// Stops the container runtime's process that looks after a pod's container: what is to end there goes on running until
/// this is dropped. Gives the container's processes too.
pub async fn stop_runtime(cluster: &Cluster, pod: &str) -> Result<(Stopped, Vec<Pid>)> {
    let pids = pids(cluster, pod).await?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", pids[0].as_raw_nonzero()))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).and_then(|pid| pid.trim().parse().ok());
    let Some(parent) = parent.and_then(Pid::from_raw) else { return failed(format!("no parent of {pod}'s process")) };
    signal(parent, Signal::STOP)?;
    Ok((Stopped(vec![parent]), pids))
}

/// Whether a process is there, running or not.
pub fn is_there(pid: Pid) -> bool {
    rustix::process::test_kill_process(pid).is_ok()
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for pid in &self.0 {
            // It may have been killed meanwhile.
            let _ = kill_process(*pid, Signal::CONT);
        }
    }
}

async fn pids(cluster: &Cluster, pod: &str) -> Result<Vec<Pid>> {
    let found = machines::pids(&cluster.namespace, pod).await?;
    let pids: Vec<_> = found.into_iter().filter_map(Pid::from_raw).collect();
    if pids.is_empty() { failed(format!("no process of {pod} runs")) } else { Ok(pids) }
}

fn signal(pid: Pid, signal: Signal) -> Result<()> {
    kill_process(pid, signal).map_err(|error| Failure(format!("a signal for process {pid:?}: {error}")))
}

/// `kubectl delete KIND NAME`, waiting until it is gone unless `--wait=false` is among `more`.
pub async fn delete(cluster: &Cluster, kind: &str, name: &str, more: &[&str]) -> Result<()> {
    kubectl(&[&["-n", cluster.namespace.as_str(), "delete", kind, name], more].concat()).await.map(drop)
}

/// `kubectl delete pod --force --grace-period=0`: forgotten at once, while its process may still run.
pub async fn force_delete_pod(cluster: &Cluster, pod: &str) -> Result<()> {
    delete(cluster, "pod", pod, &["--force", "--grace-period=0", "--wait=false"]).await
}

/// Asks for an eviction, as `kubectl drain` does; Ok(false) when a budget forbids it now.
pub async fn evict(cluster: &Cluster, pod: &str) -> Result<bool> {
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", cluster.namespace);
    let eviction = serde_json::json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": cluster.namespace},
    });
    let done = try_kubectl(&["create", "--raw", &path, "-f", "-"], &eviction.to_string()).await?;
    match done.code {
        0 => Ok(true),
        _ if done.stderr.contains("TooManyRequests") || done.stderr.contains("disruption budget") => Ok(false),
        _ => done.worked().map(|_| true),
    }
}

/// No new pods on a Kubernetes node.
pub async fn cordon(node: &str) -> Result<()> {
    kubectl(&["cordon", node]).await.map(drop)
}

/// New pods on it again.
pub async fn uncordon(node: &str) -> Result<()> {
    kubectl(&["uncordon", node]).await.map(drop)
}
