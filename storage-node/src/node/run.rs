//! The life of the process: directory, listeners, services, signals, graceful stop.

use std::{net::SocketAddr, sync::Arc};

use granary_engine::{Disk, EngineOptions};
use tokio::net::TcpListener;

use super::{Node, NodeError, stop};
use crate::{
    admin::AdminService,
    grpc::{self, KvService, PipeLimits},
    http::{self, Metrics, Pages},
    options::Options,
    transport::PeerService,
};

/// Runs a node until SIGTERM or SIGINT.
///
/// # Errors
/// When the directory, a store or a port cannot be used: nothing is served then.
pub async fn run(options: Options) -> Result<(), NodeError> {
    let kv = listen("kv-listen", options.kv_listen).await?;
    let peer = listen("peer-listen", options.peer_listen).await?;
    let metrics = listen("metrics-listen", options.metrics_listen).await?;
    let options = Arc::new(options);
    let disk = tokio::task::block_in_place(|| Disk::open(&options.data, engine_options(&options)))?;
    let (stores, incarnation) = (disk.stores().cloned(), disk.incarnation());
    let node = Node::new(options.clone(), disk);
    if let Some(stores) = stores {
        tracing::info!(
            node = stores.identity.node_id,
            cluster = stores.identity.cluster_id,
            incarnation,
            "a member starts"
        );
        node.start_member(stores, incarnation, None)?;
    } else {
        tracing::info!(uuid = node.uuid, "a blank node starts: it waits to be founded or to join");
    }
    serve(node, kv, peer, metrics).await
}

async fn serve(node: Arc<Node>, kv: TcpListener, peer: TcpListener, metrics: TcpListener) -> Result<(), NodeError> {
    let of_sample = node.clone();
    let of_metrics = Arc::new(Metrics::new(move || of_sample.member().map(|member| http::sample(member))));
    let service = KvService::new(node.clone(), of_metrics.clone(), PipeLimits::default(), node.stopping.child_token());
    let (reporter, health) = tonic_health::server::health_reporter();
    let kv_router = grpc::kv_router(service, health)?;
    let peer_service = PeerService::new(node.clone(), node.inbound.clone());
    let peer_router = grpc::peer_router(peer_service, AdminService::new(node.clone()));
    let (live, ready) = (node.clone(), node.clone());
    let pages = Pages {
        metrics: of_metrics,
        live: Box::new(move || live.check_alive()),
        ready: Box::new(move || ready.check_ready()),
    };
    // While leaders move away both ports serve: what is asked here too early or too late is answered with who leads. Then
    // the kv port takes no new calls; the peer port stays until the goodbye is said.
    let closing = tokio_util::sync::CancellationToken::new();
    let kv_server = tokio::spawn(grpc::serve(kv_router, kv, node.stopping.clone().cancelled_owned()));
    let peer_server = tokio::spawn(grpc::serve(peer_router, peer, closing.clone().cancelled_owned()));
    let http_server = tokio::spawn(http::serve(metrics, pages, closing.clone().cancelled_owned()));
    let health = tokio::spawn(stop::report_health(node.clone(), reporter));
    stop::asked().await.map_err(|source| NodeError::Io { what: "waiting for signals", source })?;
    stop::gracefully(&node).await;
    closing.cancel();
    for server in [kv_server.abort_handle(), peer_server.abort_handle(), http_server.abort_handle()] {
        server.abort();
    }
    health.abort();
    Ok(())
}

async fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address).await.map_err(|source| NodeError::Listen { flag, address, source })
}

fn engine_options(options: &Options) -> EngineOptions {
    EngineOptions { block_cache_bytes: (options.block_cache_mib as usize) << 20, ..EngineOptions::default() }
}
