//! Where the nodes' admin API is, for the commands that look at the cluster's inside.

use granary_operator::{
    node_admin::{AdminError, GrpcAdmin, NodeAdmin as _},
    observe::cluster_of,
    substrate::local::{layout::Layout, status_file::StatusFile},
};
use granary_planner::observed::Cluster;
use granary_proto::{
    admin::{GetClusterStateResponse, NodeLiveness, ShardLiveness},
    kv::{GetClusterMapRequest, GetClusterMapResponse, LeaderHint, kv_client::KvClient},
    map::Node,
};
use tonic::transport::Endpoint;

use crate::{context::Context, failure::Failure};

/// Options of commands that use the admin API.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct PeerArgs {
    /// Addresses (host:port) of the peer and admin API of one or more nodes. Without it, as the local cluster in --dir
    /// or the map at --endpoints says
    #[arg(long, env = "GRANARY_PEER_ENDPOINTS", value_delimiter = ',', value_name = "HOST:PORT,..")]
    pub peer_endpoints: Vec<String>,
}

/// What the local loop in --dir wrote last; `None`: there is no local cluster.
pub fn local_status(context: &Context) -> Result<Option<StatusFile>, Failure> {
    if !context.dir().is_dir() {
        return Ok(None);
    }
    let layout = Layout::of(context.dir()).map_err(Failure::failed)?;
    StatusFile::load(&layout).map_err(Failure::failed)
}

/// Addresses of the admin API.
pub async fn peers(context: &Context, args: &PeerArgs) -> Result<Vec<String>, Failure> {
    if !args.peer_endpoints.is_empty() {
        return Ok(args.peer_endpoints.clone());
    }
    let endpoints = context.endpoints()?;
    // With --endpoints, the cluster that is meant may be another one than that in --dir.
    if let Some(status) = local_status(context)?
        && status.kv_endpoints == endpoints
        && !status.peer_endpoints.is_empty()
    {
        return Ok(status.peer_endpoints);
    }
    from_map(context, &endpoints).await
}

async fn from_map(context: &Context, endpoints: &[String]) -> Result<Vec<String>, Failure> {
    let nodes = map(context, endpoints).await?.map.map(|map| map.nodes).unwrap_or_default();
    Ok(nodes.into_iter().filter_map(|node| node.addresses).map(|of| of.peer).collect())
}

/// The map that the first of the nodes tells which has one.
async fn map(context: &Context, endpoints: &[String]) -> Result<GetClusterMapResponse, Failure> {
    let mut last = String::new();
    for address in endpoints {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| Failure::usage(format!("endpoint {address:?} is not HOST:PORT: {error}")))?;
        let mut client =
            KvClient::new(endpoint.timeout(context.timeout()).connect_timeout(context.timeout()).connect_lazy());
        match client.get_cluster_map(GetClusterMapRequest::default()).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                let addressed = |node: &Node| node.addresses.is_some();
                if answer.map.as_ref().is_some_and(|map| map.nodes.iter().any(addressed)) {
                    return Ok(answer);
                }
                last = format!("{address} is not a member of a cluster yet");
            }
            Err(status) => last = format!("{address}: {}", status.message()),
        }
    }
    Err(Failure::failed(format!("no node tells the cluster map ({last}); `granary local status` tells what runs here")))
}

/// What is known of a cluster.
pub struct Seen {
    /// Raw.
    pub state: GetClusterStateResponse,
    /// As the planner reads it.
    pub cluster: Cluster,
    /// Why this is the map alone, with who leads: sizes, progress and whether nodes are heard are not known then.
    pub map_only: Option<String>,
}

impl Seen {
    /// Says on stderr when this is less than the whole, and why.
    pub fn say_what_is_missing(&self) {
        if let Some(why) = &self.map_only {
            eprintln!("only the cluster map is shown, as the data API tells it: {why}");
        }
    }
}

/// The cluster's own word; where the admin API cannot be reached, what the data API tells.
pub async fn look(context: &Context, args: &PeerArgs) -> Result<Seen, Failure> {
    if context.forward() && args.peer_endpoints.is_empty() {
        return look_at_map(context, "the admin API is not asked with --forward; give --peer-endpoints for it").await;
    }
    let peers = peers(context, args).await?;
    match GrpcAdmin::default().cluster_state(&peers).await {
        Ok(state) => seen(state, None),
        // Closed by a network policy, or behind a port-forward.
        Err(error @ AdminError::Unreachable { .. }) if args.peer_endpoints.is_empty() => {
            look_at_map(context, &error.to_string()).await.map_err(|_| failure(error))
        }
        Err(error) => Err(failure(error)),
    }
}

/// The cluster's own word, raw and as the planner reads it.
pub async fn cluster(context: &Context, args: &PeerArgs) -> Result<(GetClusterStateResponse, Cluster), Failure> {
    let peers = peers(context, args).await?;
    let seen = seen(GrpcAdmin::default().cluster_state(&peers).await.map_err(failure)?, None)?;
    Ok((seen.state, seen.cluster))
}

async fn look_at_map(context: &Context, why: &str) -> Result<Seen, Failure> {
    let answer = map(context, &context.endpoints()?).await?;
    let leader = |of: &LeaderHint| ShardLiveness {
        shard_id: of.shard_id,
        leader_node_id: of.node_id,
        ..ShardLiveness::default()
    };
    let shards = answer.leaders.iter().map(leader).collect();
    let live = |node: &Node| NodeLiveness { node_id: node.id, addresses: node.addresses.clone(), ..Default::default() };
    let nodes = answer.map.iter().flat_map(|map| &map.nodes).map(live).collect();
    let state = GetClusterStateResponse { map: answer.map, nodes, shards, ..Default::default() };
    seen(state, Some(why.to_owned()))
}

fn seen(state: GetClusterStateResponse, map_only: Option<String>) -> Result<Seen, Failure> {
    let cluster = cluster_of(&state).ok_or_else(|| Failure::failed("the cluster's answer holds no map"))?;
    Ok(Seen { state, cluster, map_only })
}

/// The exit code that belongs to an error of the admin API.
pub fn failure(error: AdminError) -> Failure {
    match &error {
        AdminError::Refused { code: tonic::Code::NotFound, .. } => Failure::not_found(error),
        AdminError::Refused { code: tonic::Code::FailedPrecondition, .. } => Failure::refused(error),
        _ => Failure::failed(error),
    }
}
