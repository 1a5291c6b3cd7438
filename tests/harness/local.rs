//! A local cluster under the real loop: started, watched, hurt and stopped from the outside.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, kill_process};
use serde_json::Value;
use tokio::process::Child;

pub use rustix::process::Signal;

use crate::{HarnessError, Result, cli, wait::until};

/// A directory with a spec, and the cluster that `granary local up` makes of it.
#[derive(Clone, Debug)]
pub struct Local {
    /// Of the cluster.
    pub dir: PathBuf,
    /// The StorageCluster file.
    pub spec: PathBuf,
}

/// A node as status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Node id; 0 while it has none.
    pub id: u64,
    /// Place, such as `node-0`.
    pub name: String,
    /// Process; 0 when none runs.
    pub pid: u32,
    /// Replicas of data shards here.
    pub replicas: u64,
    /// Leaders of data shards here.
    pub leaders: u64,
}

/// A shard as `granary shard list` shows it: its leader's node and its replicas' nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRow {
    /// Shard id; 0 is the meta shard.
    pub id: u64,
    /// Leader's node.
    pub leader: Option<u64>,
    /// Nodes with a voter.
    pub nodes: Vec<u64>,
}

impl Local {
    /// For a cluster in `root`: its directory, and a spec with these numbers.
    pub fn new(root: &Path, replicas: u32, factor: u32, shards: u32) -> Result<Self> {
        let local = Self { dir: root.join("cluster"), spec: root.join("cluster.yaml") };
        let text = format!(
            "apiVersion: granary.io/v1alpha1\nkind: StorageCluster\nmetadata:\n  name: demo\nspec:\n  replicas: {replicas}\n  \
             replicationFactor: {factor}\n  shards: {shards}\n  image: granary:0.1.0\n  storage:\n    size: 10Gi\n"
        );
        local.write_spec(&text)?;
        Ok(local)
    }

    /// Replaces the file.
    pub fn write_spec(&self, text: &str) -> Result<()> {
        std::fs::write(&self.spec, text)
            .map_err(|error| HarnessError::because(format!("writing {}", self.spec.display()), error))
    }

    /// Replaces the first `from` in the file by `to`, as an editor would.
    pub fn edit(&self, from: &str, to: &str) -> Result<()> {
        let text =
            std::fs::read_to_string(&self.spec).map_err(|error| HarnessError::because("reading the spec", error))?;
        if !text.contains(from) {
            return Err(HarnessError(format!("the spec holds no {from:?}")));
        }
        self.write_spec(&text.replacen(from, to, 1))
    }

    /// Changes `replicas:` in the file, as an editor would.
    pub fn edit_replicas(&self, replicas: u32) -> Result<()> {
        let text =
            std::fs::read_to_string(&self.spec).map_err(|error| HarnessError::because("reading the spec", error))?;
        let lines = text.lines().map(|line| {
            let indent = line.len() - line.trim_start().len();
            if line.trim_start().starts_with("replicas:") {
                format!("{}replicas: {replicas}\n", &line[..indent])
            } else {
                format!("{line}\n")
            }
        });
        self.write_spec(&lines.collect::<String>())
    }

    /// `granary local up --detach`.
    pub async fn up(&self) -> Result<()> {
        let spec = self.spec.display().to_string();
        let output = cli::run_in_sight(&self.dir, &["local", "up", "-f", &spec, "--detach"]).await?;
        if output.code == 0 { Ok(()) } else { Err(HarnessError(format!("local up ended with {}", output.code))) }
    }

    /// `granary local up --detach` with variables, and what came of it.
    pub async fn try_up(&self, env: &[(&str, &str)]) -> Result<cli::Output> {
        let spec = self.spec.display().to_string();
        let given = cli::Given { env, ..cli::Given::default() };
        cli::run_with(&self.dir, &["local", "up", "-f", &spec, "--detach"], given).await
    }

    /// Starts `granary local up` in the foreground, with its output in a file beside the directory.
    pub fn foreground(&self) -> Result<Child> {
        let log = self.dir.with_extension("foreground.log");
        let out = std::fs::File::options().create(true).append(true).open(&log);
        let out = out.map_err(|error| HarnessError::because(log.display(), error))?;
        let err = out.try_clone().map_err(|error| HarnessError::because(log.display(), error))?;
        let mut command = cli::command(&self.dir, &["local", "up", "-f", &self.spec.display().to_string()])?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        command.spawn().map_err(|error| HarnessError::because("starting granary", error))
    }

    /// Pid of the loop, as its status says.
    pub fn operator_pid(&self) -> Result<u32> {
        let pid = self.status()?["operator_pid"].as_u64().and_then(|pid| pid.try_into().ok());
        pid.filter(|pid| *pid != 0).ok_or_else(|| HarnessError("no loop runs".into()))
    }

    /// Waits until a status that was written after this call is as `wanted`, and gives it.
    pub async fn status_where(&self, what: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let since = unix_ms();
        until(what, limit, || async {
            let status = self.status().map_err(|error| error.to_string())?;
            let fresh = status["observed_time_ms"].as_u64().is_some_and(|at| at > since);
            if fresh && wanted(&status) { Ok(status) } else { Err(status.to_string()) }
        })
        .await
    }

    /// `granary local destroy`.
    pub async fn destroy(&self) -> Result<()> {
        let output = cli::run(&self.dir, &["local", "destroy", "--yes"]).await?;
        if output.code == 0 { Ok(()) } else { Err(HarnessError::because("local destroy", output.stderr)) }
    }

    /// The loop's status file.
    pub fn status(&self) -> Result<Value> {
        let path = self.dir.join("status.json");
        let text = std::fs::read(&path).map_err(|error| HarnessError::because(path.display(), error))?;
        serde_json::from_slice(&text).map_err(|error| HarnessError::because(path.display(), error))
    }

    /// Kv addresses.
    pub fn endpoints(&self) -> Result<Vec<String>> {
        let status = self.status()?;
        let list = status["kv_endpoints"].as_array().cloned().unwrap_or_default();
        Ok(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// Nodes, in order of name.
    pub fn nodes(&self) -> Result<Vec<NodeRow>> {
        let status = self.status()?;
        let rows = status["nodes"].as_array().cloned().unwrap_or_default();
        let mut nodes: Vec<NodeRow> = rows
            .iter()
            .map(|row| NodeRow {
                id: row["id"].as_u64().unwrap_or(0),
                name: row["name"].as_str().unwrap_or("").to_owned(),
                pid: row["pid"].as_u64().and_then(|pid| pid.try_into().ok()).unwrap_or(0),
                replicas: row["replicas"].as_u64().unwrap_or(0),
                leaders: row["leaders"].as_u64().unwrap_or(0),
            })
            .collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(nodes)
    }

    /// Shards as the cluster says them.
    pub async fn shards(&self) -> Result<Vec<ShardRow>> {
        let answer = cli::json(&self.dir, &["shard", "list"]).await?;
        let rows = answer.as_array().or_else(|| answer["shards"].as_array()).cloned().unwrap_or_default();
        Ok(rows
            .iter()
            .map(|row| ShardRow {
                id: row["id"].as_u64().unwrap_or(0),
                leader: row["leader"].as_u64(),
                nodes: row["replicas"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|replica| replica["role"] == "voter")
                    .filter_map(|replica| replica["node"].as_u64())
                    .collect(),
            })
            .collect())
    }

    /// Waits until the loop says that everything is as asked, with `replicas` nodes, by a look made after this call.
    pub async fn ready(&self, replicas: u32, limit: Duration) -> Result<Vec<NodeRow>> {
        let since = unix_ms();
        until(&format!("{replicas} nodes ready"), limit, || async {
            let status = self.status().map_err(|error| error.to_string())?;
            let nodes = self.nodes().map_err(|error| error.to_string())?;
            let fresh = status["observed_time_ms"].as_u64().is_some_and(|at| at > since);
            let asked = status["replicas"].as_u64() == Some(u64::from(replicas));
            if fresh && asked && status["ready"] == true && nodes.len() == replicas as usize {
                Ok(nodes)
            } else {
                Err(format!("{} {} {} {}", status["phase"], status["plan"], status["waiting"], status["error"]))
            }
        })
        .await
    }

    /// The node that leads the most data shards.
    pub fn busiest(&self) -> Result<NodeRow> {
        let nodes = self.nodes()?;
        nodes.into_iter().max_by_key(|node| node.leaders).ok_or_else(|| HarnessError("no node".into()))
    }

    /// Directory of a node.
    pub fn node_dir(&self, name: &str) -> PathBuf {
        self.dir.join("nodes").join(name)
    }
}

/// SIGKILL; a process that is gone already is fine.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Sends a signal; a process that is gone already is fine.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Replicas and leaders of data shards a node.
pub fn counts(shards: &[ShardRow]) -> (BTreeMap<u64, u64>, BTreeMap<u64, u64>) {
    let (mut replicas, mut leaders) = (BTreeMap::new(), BTreeMap::new());
    for shard in shards.iter().filter(|shard| shard.id != 0) {
        shard.nodes.iter().for_each(|node| *replicas.entry(*node).or_default() += 1);
        shard.leader.iter().for_each(|node| *leaders.entry(*node).or_default() += 1);
    }
    (replicas, leaders)
}

/// Largest less smallest, over `nodes`; a node that is not named counts 0.
pub fn spread(counts: &BTreeMap<u64, u64>, nodes: &[NodeRow]) -> u64 {
    let of = |node: &NodeRow| counts.get(&node.id).copied().unwrap_or(0);
    let most = nodes.iter().map(of).max().unwrap_or(0);
    most - nodes.iter().map(of).min().unwrap_or(0)
}

fn unix_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
