//! Three nodes of ours on this machine, as `granary local up` starts them, with their operator.

mod unary;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use granary_client::{Client, Options};
use granary_proto::admin::{GetClusterStateRequest, Transfer, TransferLeadersRequest, admin_client::AdminClient};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::process::Command;

use crate::{
    error::{BenchError, Doing as _, Result},
    patience::until,
    system::{Member, System, metrics},
};
pub use unary::Unary;

/// What of status.json is used here.
#[derive(Debug, Deserialize)]
struct Status {
    ready: bool,
    replicas: u32,
    observed_time_ms: u64,
    kv_endpoints: Vec<String>,
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: u64,
    name: String,
    pid: Option<u32>,
    peer_address: String,
    #[serde(default)]
    leaders: u32,
}

/// What of cluster.json is used here.
#[derive(Debug, Deserialize)]
struct Record {
    places: BTreeMap<String, Ports>,
}

#[derive(Debug, Deserialize)]
struct Ports {
    metrics_port: u16,
}

/// What of `granary shard list` is used here.
#[derive(Debug, Deserialize)]
struct Shard {
    id: u32,
    leader: Option<u64>,
    replicas: Vec<Replica>,
}

#[derive(Debug, Deserialize)]
struct Replica {
    node: u64,
}

/// The nodes; `end` stops them.
pub struct Ours {
    binary: PathBuf,
    dir: PathBuf,
    spec: PathBuf,
    shards: u32,
}

impl Ours {
    /// Starts a new cluster of three nodes below `dir`; `binary` is the `granary` command, with the node's beside it.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start(binary: &Path, dir: &Path, shards: u32) -> Result<Self> {
        fs::create_dir_all(dir).doing(dir.display())?;
        let (dir, spec) = (dir.join("cluster"), dir.join("cluster.yaml"));
        let ours = Self { binary: binary.to_owned(), dir, spec, shards };
        ours.ask_for(3)?;
        ours.up().await?;
        Ok(ours)
    }

    /// Starts all nodes with the data they have, and waits until the cluster is ready.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn up(&self) -> Result<()> {
        self.cli(&["local", "up", "--detach", "-f", &self.spec.display().to_string()]).await.map(drop)
    }

    /// Stops all nodes, and keeps their data.
    ///
    /// # Errors
    /// They do not stop.
    pub async fn down(&self) -> Result<()> {
        self.cli(&["local", "down"]).await.map(drop)
    }

    /// Directory of a node.
    pub fn data(&self, member: &Member) -> PathBuf {
        self.dir.join("nodes").join(&member.name)
    }

    /// Edits the number of nodes in the file that the operator follows.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn ask_for(&self, replicas: u32) -> Result<()> {
        let text = format!(
            "apiVersion: granary.io/v1alpha1\nkind: StorageCluster\nmetadata:\n  name: bench\nspec:\n  replicas: {replicas}\n  \
             replicationFactor: 3\n  shards: {}\n  image: granary:bench\n  storage:\n    size: 100Gi\n",
            self.shards
        );
        fs::write(&self.spec, text).doing(self.spec.display())
    }

    /// Waits until the operator says that all is as asked, with so many nodes, by a look made after this call.
    ///
    /// # Errors
    /// It is not within `limit`.
    pub async fn ready(&self, replicas: u32, limit: Duration) -> Result<()> {
        let asked = unix_ms();
        let look = || async {
            let status = self.status().map_err(|error| error.to_string())?;
            let as_asked = status.replicas == replicas && status.nodes.len() == replicas as usize;
            let fresh = status.observed_time_ms > asked;
            if fresh && as_asked && status.ready { Ok(()) } else { Err(format!("{status:?}")) }
        };
        until(&format!("{replicas} nodes are ready"), limit, look).await
    }

    /// Targets that make a unary call of each request.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn unary(&self, connections: u32) -> Result<Vec<Unary>> {
        let endpoints = self.status()?.kv_endpoints;
        let mut targets = Vec::new();
        for _ in 0..connections {
            targets.push(Unary::connect(&endpoints).await?);
        }
        Ok(targets)
    }

    /// Stops the nodes and removes all they have.
    ///
    /// # Errors
    /// They do not stop.
    pub async fn end(self) -> Result<()> {
        self.cli(&["local", "destroy", "--yes"]).await.map(drop)
    }

    async fn cli(&self, args: &[&str]) -> Result<Vec<u8>> {
        let mut command = Command::new(&self.binary);
        command.arg("--dir").arg(&self.dir).args(["-o", "json"]).args(args);
        let output = command.output().await.doing(self.binary.display())?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(BenchError(format!("granary {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr))))
    }

    fn status(&self) -> Result<Status> {
        read_json(&self.dir.join("status.json"))
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        let listed = self.cli(&["shard", "list"]).await?;
        serde_json::from_slice(&listed).doing("reading `granary shard list`")
    }
}

impl System for Ours {
    type Target = Client;

    fn name(&self) -> &'static str {
        "granary"
    }

    async fn targets(&self, connections: u32) -> Result<Vec<Client>> {
        let endpoints = self.status()?.kv_endpoints;
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(Client::connect(endpoints.clone(), Options::default()).await.doing("connecting")?);
        }
        Ok(clients)
    }

    fn members(&self) -> Result<Vec<Member>> {
        let member = |node: Node| {
            let pid = node.pid.ok_or_else(|| BenchError(format!("{} is down", node.name)))?;
            Ok(Member { name: node.name, pid })
        };
        self.status()?.nodes.into_iter().map(member).collect()
    }

    fn syncs(&self) -> Result<f64> {
        let record: Record = read_json(&self.dir.join("cluster.json"))?;
        let page = |ports: &Ports| format!("http://127.0.0.1:{}/metrics", ports.metrics_port);
        record.places.values().map(|ports| metrics(&page(ports), &["granary_syncs_total"])).sum()
    }

    async fn leader(&self) -> Result<Member> {
        let busiest = self.status()?.nodes.into_iter().max_by_key(|node| node.leaders);
        let busiest = busiest.filter(|node| node.leaders > 0).ok_or_else(|| BenchError("nobody leads".into()))?;
        self.members()?.into_iter().find(|member| member.name == busiest.name).ok_or_else(|| BenchError("gone".into()))
    }

    async fn hand_over(&self, leader: &Member) -> Result<()> {
        let nodes = self.status()?.nodes;
        let from = nodes.iter().find(|node| node.name == leader.name).map_or(0, |node| node.id);
        let to = |shard: &Shard| {
            let heir = shard.replicas.iter().map(|replica| replica.node).find(|node| *node != from)?;
            (shard.id != 0 && shard.leader == Some(from)).then_some(Transfer { shard_id: shard.id, to_node_id: heir })
        };
        let transfers: Vec<Transfer> = self.shards().await?.iter().filter_map(to).collect();
        let mut refused = BenchError("no node".into());
        for node in nodes {
            let mut admin = AdminClient::connect(format!("http://{}", node.peer_address)).await.doing(&node.name)?;
            // With the operator's own token, so that it goes on.
            let state = admin.get_cluster_state(GetClusterStateRequest::default()).await;
            let token = state.map(|state| state.into_inner().operator_token);
            let moved = match token {
                Ok(operator_token) => {
                    let transfers = transfers.clone();
                    let request = TransferLeadersRequest { operator_token, transfers, ..Default::default() };
                    admin.transfer_leaders(request).await.map(drop)
                }
                Err(status) => Err(status),
            };
            match moved {
                Ok(()) => return Ok(()),
                Err(status) => refused = BenchError(format!("handing leaders over: {status}")),
            }
        }
        Err(refused)
    }

    async fn whole(&mut self) -> Result<()> {
        self.ready(3, Duration::from_secs(60)).await
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).doing(path.display())?;
    serde_json::from_slice(&text).doing(path.display())
}

fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
