//! A cluster of bare nodes without an operator: the test founds it, joins nodes and moves replicas by the Admin service
//! itself, so that each fault comes when the test says.

use std::{
    future::Future,
    path::{Path, PathBuf},
    time::Duration,
};

use granary_client::{Client, Options};
use granary_proto::admin::{admin_client::AdminClient, *};
use tempfile::TempDir;
use tonic::{Code, Response, Status, transport::Channel};

use crate::{
    HarnessError, Result,
    node::{LIMIT, Node},
    wait::until,
};

/// The operator that the tests are.
const INSTALLATION: &str = "tests";

/// What to found.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Nodes; the first `factor` found the cluster, the others join.
    pub nodes: usize,
    /// Replication factor.
    pub factor: u32,
    /// Data shards; a power of two.
    pub shards: u32,
}

/// A founded cluster. Its directory goes with it, unless the test panics: then it stays, with the logs.
pub struct Cluster {
    /// All places, those of stopped nodes too.
    pub nodes: Vec<Node>,
    /// What was founded.
    pub shape: Shape,
    /// Random UUID.
    pub cluster_id: String,
    /// Of the tests as operator.
    pub token: u64,
    /// Says where the data directory of a place is; the node makes it.
    data: Option<DataOf>,
    env: Vec<(String, String)>,
    root: Option<TempDir>,
}

type DataOf = Box<dyn Fn(usize) -> PathBuf + Send + Sync>;

impl Cluster {
    /// Founds a cluster, and waits until every shard is whole.
    pub async fn found(shape: Shape) -> Result<Self> {
        Self::found_with(shape, &[]).await
    }

    /// The same, with more environment for each node.
    pub async fn found_with(shape: Shape, env: &[(&str, &str)]) -> Result<Self> {
        let mut cluster = Self::planned(shape, env)?;
        cluster.establish().await?;
        Ok(cluster)
    }

    /// A cluster of which nothing runs yet.
    pub fn planned(shape: Shape, env: &[(&str, &str)]) -> Result<Self> {
        let root =
            TempDir::with_prefix("granary-test-").map_err(|error| HarnessError::because("a directory", error))?;
        let cluster_id = uuid::Uuid::new_v4().to_string();
        let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Ok(Self { nodes: Vec::new(), shape, cluster_id, token: 0, data: None, env, root: Some(root) })
    }

    /// Lets the data directory of each place be where `of` says, for nodes that are added from now on.
    pub fn data_at(&mut self, of: impl Fn(usize) -> PathBuf + Send + Sync + 'static) {
        self.data = Some(Box::new(of));
    }

    /// Founds the planned cluster, and waits until every shard is whole. What was cut off is finished when it is asked
    /// again; all places that were started must run then.
    pub async fn establish(&mut self) -> Result<()> {
        let founders = self.shape.factor as usize;
        while self.nodes.len() < founders {
            self.add_blank()?;
        }
        self.bootstrap().await?;
        self.acquire().await?;
        for index in founders..self.shape.nodes {
            if index == self.nodes.len() {
                self.add_blank()?;
            }
            self.join(index).await?;
        }
        self.create_shards().await?;
        self.whole().await?;
        Ok(())
    }

    /// Three nodes, each with a replica of each of `shards` shards.
    pub async fn of_three(shards: u32) -> Result<Self> {
        Self::found(Shape { nodes: 3, factor: 3, shards }).await
    }

    /// Where everything is.
    pub fn root(&self) -> &Path {
        self.root.as_ref().map_or(Path::new(""), TempDir::path)
    }

    /// Starts a blank node; gives its place.
    pub fn add_blank(&mut self) -> Result<usize> {
        let index = self.nodes.len();
        let mut node = Node::new(self.root(), &format!("node-{index}"))?;
        node.env.clone_from(&self.env);
        if let Some(of) = &self.data {
            node.dir = of(index);
        }
        node.start()?;
        self.nodes.push(node);
        Ok(index)
    }

    /// Starts a node and lets it join; gives its place.
    pub async fn add(&mut self) -> Result<usize> {
        let index = self.add_blank()?;
        self.join(index).await?;
        Ok(index)
    }

    /// Sends the first `factor` nodes their Bootstrap; the same one again when it is asked again.
    pub async fn bootstrap(&self) -> Result<()> {
        let mut named = Vec::new();
        let founders = &self.nodes[..self.shape.factor as usize];
        for (node, node_id) in founders.iter().zip(1..) {
            let known = node.identify().await?;
            let sender = known.sender.unwrap_or_default();
            let (uuid, addresses) = (sender.uuid, sender.addresses);
            named.push(Founder { node_id, uuid, name: known.name, addresses, domains: known.domains });
        }
        let request = BootstrapRequest {
            cluster_id: self.cluster_id.clone(),
            founders: named,
            replication_factor: self.shape.factor,
            shard_count: self.shape.shards,
            feature_level: 1,
        };
        for node in founders {
            node.admin()?
                .bootstrap(request.clone())
                .await
                .map_err(|status| HarnessError::because("bootstrap", status))?;
        }
        Ok(())
    }

    /// Acquires the token of the operator anew.
    pub async fn acquire(&mut self) -> Result<()> {
        let process = uuid::Uuid::new_v4().to_string();
        let request = AcquireOperatorRequest { installation: INSTALLATION.into(), process };
        let acquired = self.ask("acquire the operator's token", |mut admin| {
            let request = request.clone();
            async move { admin.acquire_operator(request).await }
        });
        self.token = acquired.await?.token;
        Ok(())
    }

    /// Lets a started blank node join; gives its node id.
    pub async fn join(&self, index: usize) -> Result<u64> {
        self.nodes[index].identify().await?;
        let others = self.nodes.iter().enumerate().filter(|(other, node)| *other != index && node.runs());
        let seeds = others.map(|(_, node)| node.ports.peer.to_string()).collect();
        let (cluster_id, operator_token) = (self.cluster_id.clone(), self.token);
        let request = JoinRequest { cluster_id, seeds, operator_token, domains: None };
        let admin = self.nodes[index].admin()?;
        let joined = until("join", LIMIT, || {
            let (mut admin, request) = (admin.clone(), request.clone());
            async move { admin.join(request).await.map_err(|status| status.to_string()) }
        });
        Ok(joined.await?.into_inner().node_id)
    }

    /// Shards over all nodes in turn.
    pub async fn create_shards(&self) -> Result<()> {
        let (nodes, factor) = (self.shape.nodes as u64, u64::from(self.shape.factor));
        let on = |shard_id: u32| (0..factor).map(|copy| (u64::from(shard_id) + copy) % nodes + 1).collect();
        let shards = (1..=self.shape.shards).map(|shard_id| Placement { shard_id, node_ids: on(shard_id) }).collect();
        let request = CreateShardsRequest { operator_token: self.token, shards };
        self.ask("create the shards", |mut admin| {
            let request = request.clone();
            async move { admin.create_shards(request).await }
        })
        .await?;
        Ok(())
    }

    /// Asks a call of running nodes in turn until one answers; a refusal that will not change is an error at once.
    pub async fn ask<T, F, A>(&self, what: &str, call: F) -> Result<T>
    where
        F: Fn(AdminClient<Channel>) -> A,
        A: Future<Output = std::result::Result<Response<T>, Status>>,
    {
        let admins = self.nodes.iter().filter(|node| node.runs()).map(Node::admin).collect::<Result<Vec<_>>>()?;
        let mut turn = admins.into_iter().cycle();
        let answered = until(what, LIMIT, || {
            let call = turn.next().map(&call);
            async move {
                match call {
                    None => Err("no node runs".to_owned()),
                    Some(call) => match call.await {
                        Ok(answer) => Ok(Ok(answer.into_inner())),
                        Err(status) if is_final(&status) => Ok(Err(status)),
                        Err(status) => Err(status.to_string()),
                    },
                }
            }
        });
        answered.await?.map_err(|status| HarnessError::because(what, status))
    }

    /// What the leader of the meta shard knows.
    pub async fn state(&self) -> Result<GetClusterStateResponse> {
        self.ask(
            "the cluster's state",
            |mut admin| async move { admin.get_cluster_state(GetClusterStateRequest {}).await },
        )
        .await
    }

    /// Waits until the state is as wanted; `wanted` says what is not yet.
    pub async fn state_until(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&GetClusterStateResponse) -> std::result::Result<(), String>,
    ) -> Result<GetClusterStateResponse> {
        until(what, limit, || async {
            let state = self.state().await.map_err(|error| error.to_string())?;
            wanted(&state).map(|()| state)
        })
        .await
    }

    /// Waits until every running member is ready, every shard has a leader, every replica of every target has caught up, and
    /// no other is left.
    pub async fn whole(&self) -> Result<GetClusterStateResponse> {
        // First: what the leader of the meta shard knows may be 2 s old.
        for node in self.nodes.iter().filter(|node| node.runs()) {
            until(&format!("{} is ready", node.name), LIMIT * 2, || async {
                let known = node.identify().await.map_err(|error| error.to_string())?;
                let is_member = known.sender.is_some_and(|sender| sender.node_id != 0);
                if known.ready || !is_member { Ok(()) } else { Err(known.not_ready_reason) }
            })
            .await?;
        }
        let shards = self.shape.shards as usize + 1;
        self.state_until("every shard is whole", LIMIT * 2, |state| match state.shards.len() == shards {
            true => first_unfinished(state).map_or(Ok(()), Err),
            false => Err(format!("{} of {shards} shards", state.shards.len())),
        })
        .await
    }

    /// The place of the node with this id.
    pub async fn place(&self, node_id: u64) -> Result<usize> {
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.runs()) {
            if node.id().await? == node_id {
                return Ok(index);
            }
        }
        Err(HarnessError(format!("no running node has id {node_id}")))
    }

    /// Node that leads a shard, once one does.
    pub async fn leader(&self, shard: u32) -> Result<u64> {
        let of = |state: &GetClusterStateResponse| {
            let found = state.shards.iter().find(|found| found.shard_id == shard);
            found.map_or(0, |found| found.leader_node_id)
        };
        let led = |state: &GetClusterStateResponse| if of(state) == 0 { Err("no leader".to_owned()) } else { Ok(()) };
        Ok(of(&self.state_until(&format!("shard {shard} has a leader"), LIMIT, led).await?))
    }

    /// Writes targets, at the version that each group has now.
    pub async fn reconfigure(&self, targets: &[(u32, Vec<u64>)]) -> Result<()> {
        let written = until("new targets are taken", LIMIT, || async {
            let state = self.state().await.map_err(|error| error.to_string())?;
            let items = targets.iter().map(|(shard_id, node_ids)| {
                let shard = state.map.iter().flat_map(|map| &map.shards).find(|shard| shard.id == *shard_id);
                let version = shard.and_then(|shard| shard.group.as_ref()).map_or(0, |group| group.version);
                Reconfiguration { shard_id: *shard_id, node_ids: node_ids.clone(), expected_version: version }
            });
            let request = ReconfigureRequest { operator_token: self.token, items: items.collect() };
            let answer = self.ask("reconfigure", |mut admin| {
                let request = request.clone();
                async move { admin.reconfigure(request).await }
            });
            let answer = answer.await.map_err(|error| error.to_string())?;
            match answer.outcomes.iter().find(|outcome| !outcome.accepted) {
                Some(refused) => Err(refused.message.clone()),
                None => Ok(()),
            }
        });
        written.await
    }

    /// Kv addresses of all places.
    pub fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.ports.kv.to_string()).collect()
    }

    /// A client with a generous timeout.
    pub async fn client(&self) -> Result<Client> {
        let options = Options { timeout: Duration::from_secs(60), ..Options::default() };
        Client::connect(self.endpoints(), options).await.map_err(|error| HarnessError::because("connecting", error))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.clear();
        if std::thread::panicking()
            && let Some(root) = self.root.take()
        {
            eprintln!("the nodes' directories and logs stay in {}", root.keep().display());
        }
    }
}

/// Whether asking again would bring the same. A blank node has nothing to say; others have.
fn is_final(status: &Status) -> bool {
    let blank = status.message().contains("belongs to no cluster");
    let refusals = [Code::InvalidArgument, Code::FailedPrecondition, Code::NotFound, Code::AlreadyExists];
    refusals.contains(&status.code()) && !blank
}

/// The first shard that is not yet as its target says, with all replicas caught up.
pub fn first_unfinished(state: &GetClusterStateResponse) -> Option<String> {
    let map = state.map.as_ref()?;
    state.shards.iter().find_map(|shard| {
        let id = shard.shard_id;
        let target = map.shards.iter().find(|found| found.id == id).and_then(|found| found.target.clone());
        let mut wanted: Vec<u64> =
            target.iter().flat_map(|target| &target.replicas).map(|replica| replica.id).collect();
        let group = shard.group.clone().unwrap_or_default();
        let mut there: Vec<u64> = group.replicas.iter().map(|replica| replica.id).collect();
        wanted.sort_unstable();
        there.sort_unstable();
        if shard.leader_node_id == 0 {
            Some(format!("shard {id} has no leader"))
        } else if group.joint || there != wanted {
            Some(format!("shard {id} has replicas {there:?}, wanted are {wanted:?}"))
        } else if shard.progress.len() < there.len() || shard.progress.iter().any(|one| !one.active || !one.caught_up) {
            Some(format!("shard {id} has replicas that are not caught up: {:?}", shard.progress))
        } else {
            None
        }
    })
}
