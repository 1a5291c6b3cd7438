//! Where the nodes' admin API is, for the commands that look at the cluster's inside.

use granary_operator::{
    node_admin::{AdminError, GrpcAdmin, NodeAdmin as _},
    observe::cluster_of,
    substrate::local::{layout::Layout, status_file::StatusFile},
};
use granary_planner::observed::Cluster;
use granary_proto::{
    admin::GetClusterStateResponse,
    kv::{GetClusterMapRequest, kv_client::KvClient},
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
    let mut last = String::new();
    for address in endpoints {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| Failure::usage(format!("endpoint {address:?} is not HOST:PORT: {error}")))?;
        let mut client =
            KvClient::new(endpoint.timeout(context.timeout()).connect_timeout(context.timeout()).connect_lazy());
        match client.get_cluster_map(GetClusterMapRequest::default()).await {
            Ok(answer) => {
                let nodes = answer.into_inner().map.map(|map| map.nodes).unwrap_or_default();
                let addresses: Vec<_> = nodes.into_iter().filter_map(|node| node.addresses).map(|of| of.peer).collect();
                if !addresses.is_empty() {
                    return Ok(addresses);
                }
                last = format!("{address} is not a member of a cluster yet");
            }
            Err(status) => last = format!("{address}: {}", status.message()),
        }
    }
    Err(Failure::failed(format!("no node tells the cluster map ({last}); `granary local status` tells what runs here")))
}

/// The cluster's own word, raw and as the planner reads it.
pub async fn cluster(context: &Context, args: &PeerArgs) -> Result<(GetClusterStateResponse, Cluster), Failure> {
    let peers = peers(context, args).await?;
    let state = GrpcAdmin::default().cluster_state(&peers).await.map_err(failure)?;
    let cluster = cluster_of(&state).ok_or_else(|| Failure::failed("the cluster's answer holds no map"))?;
    Ok((state, cluster))
}

/// The exit code that belongs to an error of the admin API.
pub fn failure(error: AdminError) -> Failure {
    match &error {
        AdminError::Refused { code: tonic::Code::NotFound, .. } => Failure::not_found(error),
        AdminError::Refused { code: tonic::Code::FailedPrecondition, .. } => Failure::refused(error),
        _ => Failure::failed(error),
    }
}
