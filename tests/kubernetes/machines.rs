//! The machines of the testbed, which are the Kubernetes nodes: their cables, their power, their processes, their disks.
//! Each call runs a script of `testbed/`; which instance is meant is in the environment.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{commands, failure::Result, helm::repository};

/// The Kubernetes nodes; node N is in zone N.
pub const NODES: [&str; 3] = ["node1", "node2", "node3"];

/// Whether a cable or a plug may have been pulled since the last look: at first an earlier run may have done it.
static TOUCHED: AtomicBool = AtomicBool::new(true);

/// Whether a cable or a plug may have been pulled since the last call.
pub fn take_touched() -> bool {
    TOUCHED.swap(false, Ordering::Relaxed)
}

async fn script(name: &str, arguments: &[&str]) -> Result<String> {
    commands::run(&repository(&format!("tests/kubernetes/testbed/{name}")), arguments, "").await?.worked()
}

/// Cuts a Kubernetes node's cable: it and its pods go on, and reach nobody.
pub async fn link_down(node: &str) -> Result<()> {
    TOUCHED.store(true, Ordering::Relaxed);
    script("link", &[node, "down"]).await.map(drop)
}

/// Plugs the cable in again; nothing happens when it is in.
pub async fn link_up(node: &str) -> Result<()> {
    script("link", &[node, "up"]).await.map(drop)
}

/// Pulls the plug of a Kubernetes node: all that runs there is gone at once, its disks stay.
pub async fn power_off(node: &str) -> Result<()> {
    TOUCHED.store(true, Ordering::Relaxed);
    script("power", &[node, "off"]).await.map(drop)
}

/// Starts it again; returns when its kubelet runs.
pub async fn power_on(node: &str) -> Result<()> {
    script("power", &[node, "on"]).await.map(drop)
}

/// Processes of a pod's first container, as this machine counts them.
pub async fn pids(namespace: &str, pod: &str) -> Result<Vec<i32>> {
    parsed(&script("pids", &["--", namespace, pod]).await?)
}

/// Processes of a pod with this uid, also when the API server no longer knows it; its pause process is among them.
pub async fn pids_of_uid(uid: &str) -> Result<Vec<i32>> {
    parsed(&script("pids", &["--", "--uid", uid]).await?)
}

fn parsed(text: &str) -> Result<Vec<i32>> {
    Ok(text.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?)
}

/// A local disk that is lost: all that is on the volume is gone, whoever uses it.
pub async fn lose_volume(volume: &str) -> Result<()> {
    script("volumes", &["lose", volume]).await.map(drop)
}

/// Where a local volume's folder is on this machine.
pub async fn volume_path(volume: &str) -> Result<String> {
    Ok(script("volumes", &["path", volume]).await?.trim().to_owned())
}

/// Makes every local volume that no claim holds anew: empty, Available, with its first policy.
pub async fn renew_volumes() -> Result<()> {
    script("volumes", &["renew"]).await.map(drop)
}

/// Another name for an image that the Kubernetes nodes have.
pub async fn tag_image(old: &str, new: &str) -> Result<()> {
    script("images", &["tag", old, new]).await.map(drop)
}
