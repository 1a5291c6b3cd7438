//! The cluster under torture: the operator's loop as a process of its own, nodes that it starts, seen from the outside.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use granary_tests::{
    HarnessError, Result, cli,
    local::{Local, Signal, kill, signal},
    wait::until,
};
use rustix::process::{Pid, WaitOptions, waitpid};
use serde_json::Value;
use tokio::{process::Child, sync::Mutex};

use crate::{
    network::{Ports, Where},
    shim,
};

/// Longest time for processes that were killed to be gone.
const GONE: Duration = Duration::from_secs(60);

/// A node as the operator's status shows it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Of its place.
    pub index: u32,
    /// 0 while it is not known.
    pub id: u64,
    /// Data shards it leads.
    pub leaders: u64,
    /// host:port of its peer and admin API.
    pub peer: String,
    ports: Option<Ports>,
}

/// The cluster.
pub struct Cluster {
    /// Directory of the run.
    pub run: PathBuf,
    /// Spec and directory.
    pub local: Local,
    /// Data shards.
    pub shards: u32,
    operator: Mutex<Option<Child>>,
}

impl Cluster {
    /// A cluster of three nodes; nothing runs yet.
    pub fn new(run: &Path, shards: u32) -> Result<Self> {
        let local = Local::new(run, 3, 3, shards)?;
        local.edit("    size: 10Gi\n", "    size: 10Gi\n    whenScaled: Delete\n")?;
        Ok(Self { run: run.to_owned(), local, shards, operator: Mutex::new(None) })
    }

    /// Starts the operator.
    pub async fn start_operator(&self) -> Result<()> {
        let failed = |error| HarnessError::because("starting the operator", error);
        let log = File::options().create(true).append(true).open(self.run.join("operator.log")).map_err(failed)?;
        let this = std::env::current_exe().map_err(failed)?;
        let spec = self.local.spec.display().to_string();
        let mut command = cli::command(&self.local.dir, &["local", "up", "-f", &spec, "--node-binary"])?;
        command.arg(this).env(shim::RUN, &self.run).stdin(Stdio::null());
        // Ctrl-C is for the harness.
        command.process_group(0).stdout(log.try_clone().map_err(failed)?).stderr(log);
        *self.operator.lock().await = Some(command.spawn().map_err(failed)?);
        Ok(())
    }

    /// `kill -9` of the operator.
    pub async fn kill_operator(&self) {
        if let Some(mut child) = self.operator.lock().await.take() {
            let _ = child.kill().await;
        }
    }

    /// Sends the operator a signal.
    pub async fn signal_operator(&self, sent: Signal) {
        if let Some(pid) = self.operator.lock().await.as_ref().and_then(Child::id) {
            signal(pid, sent);
        }
    }

    /// Nodes as last seen by the operator; those without a place are left out.
    pub fn nodes(&self) -> Result<Vec<Seen>> {
        let status = self.local.status()?;
        let rows = status["nodes"].as_array().cloned().unwrap_or_default();
        Ok(rows.iter().filter_map(seen).collect())
    }

    /// Where nodes listen.
    pub fn ports(&self) -> Result<Where> {
        Ok(self.nodes()?.into_iter().filter_map(|node| Some((node.index, node.ports?))).collect())
    }

    /// Processes of nodes, by index.
    pub fn processes(&self) -> BTreeMap<u32, u32> {
        let below = self.local.dir.join("nodes");
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter_map(|pid| Some((index_in(&fs::read(format!("/proc/{pid}/cmdline")).ok()?, &below)?, pid))).collect()
    }

    /// `kill -9` of these nodes, and waits until they are gone.
    pub async fn kill_nodes(&self, indices: &[u32]) -> Result<usize> {
        let victims: Vec<u32> =
            self.processes().into_iter().filter(|(index, _)| indices.contains(index)).map(|(_, pid)| pid).collect();
        victims.iter().for_each(|pid| kill(*pid));
        until("killed nodes are gone", GONE, || async {
            let left: Vec<_> = self.processes().into_values().filter(|pid| victims.contains(pid)).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?} are still there")) }
        })
        .await?;
        Ok(victims.len())
    }

    /// Waits until everything is as asked, seen after this call.
    pub async fn whole(&self, limit: Duration) -> Result<()> {
        let asked = self.asked()?;
        let ready = |status: &Value| status["ready"] == true && status["replicas"] == asked;
        self.local.status_where("every shard whole, as asked", limit, ready).await.map(|_| ())
    }

    /// Nodes that the spec asks for.
    pub fn asked(&self) -> Result<u32> {
        let text = fs::read_to_string(&self.local.spec).map_err(|error| HarnessError::because("the spec", error))?;
        let number = text.lines().find_map(|line| line.trim().strip_prefix("replicas: ")?.parse().ok());
        number.ok_or_else(|| HarnessError("the spec asks for no replicas".into()))
    }
}

/// Takes the exits of orphans: nodes of an operator that was killed are this process's, the first of its namespace.
pub fn reap() {
    let zombie = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let mine = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with("Z 1 "));
        // Others are waited for by who started them here.
        mine && stat.contains("(granary-node)")
    };
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).filter(zombie) {
        let _ = waitpid(i32::try_from(pid).ok().and_then(Pid::from_raw), WaitOptions::NOHANG);
    }
}

fn seen(row: &Value) -> Option<Seen> {
    let index = row["name"].as_str()?.strip_prefix("node-")?.parse().ok()?;
    let peer = row["peer_address"].as_str()?.to_owned();
    let port = |address: &Value| address.as_str()?.rsplit_once(':')?.1.parse().ok();
    let ports = port(&row["kv_address"]).zip(port(&row["peer_address"])).map(|(kv, peer)| Ports { kv, peer });
    Some(Seen { index, id: row["id"].as_u64()?, leaders: row["leaders"].as_u64()?, peer, ports })
}

/// Index of the node whose command line this is: it says `--data BELOW/node-N`.
fn index_in(command_line: &[u8], below: &Path) -> Option<u32> {
    let words: Vec<&[u8]> = command_line.split(|byte| *byte == 0).collect();
    let data = words.windows(2).find(|pair| pair[0] == b"--data")?[1];
    let name = data.strip_prefix(below.as_os_str().as_bytes())?.strip_prefix(b"/node-")?;
    std::str::from_utf8(name).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_known_by_its_data_directory() {
        let line = b"/x/granary-node\0--data\0/run/cluster/nodes/node-3\0--name\0node-3\0";
        assert_eq!(index_in(line, Path::new("/run/cluster/nodes")), Some(3));
        assert_eq!(index_in(line, Path::new("/other/nodes")), None);
        assert_eq!(index_in(b"granary\0local\0up\0", Path::new("/run/cluster/nodes")), None);
    }

    #[test]
    fn a_place_without_ports_is_seen_all_the_same() {
        let row = serde_json::json!({
            "id": 4, "name": "node-2", "pid": 7, "kv_address": null, "peer_address": "127.0.0.1:5", "leaders": 3
        });
        let node = seen(&row).unwrap();
        assert_eq!((node.index, node.id, node.leaders, node.ports), (2, 4, 3, None));
    }
}
