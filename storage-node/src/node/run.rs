//! The life of the process: ports, probes, the start, services, signals, graceful stop.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Handle,
};

use super::{
    Node, NodeError, open,
    starting::Starting,
    stop::{self, Signals},
};
use crate::{
    admin::AdminService,
    grpc::{self, KvService, PipeLimits},
    http::{self, Metrics, Pages},
    options::Options,
    transport::PeerService,
};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Runs a node until SIGTERM or SIGINT. Clients are served by the runtime that this is called in, other nodes by `peers`.
///
/// # Errors
/// When the directory, a store or a port cannot be used: nothing but probes was served then.
pub async fn run(options: Options, peers: Handle) -> Result<(), NodeError> {
    let signals = Signals::new().map_err(|source| NodeError::Io { what: "waiting for signals", source })?;
    // Taken now, so that a port that is not free is told at once; until the node can serve, connections are refused.
    let kv = Port::take("kv-listen", options.kv_listen)?;
    let peer = Port::take("peer-listen", options.peer_listen)?;
    let probes = Port::take("metrics-listen", options.metrics_listen)?.listen()?;
    let (options, starting) = (Arc::new(options), Arc::new(Starting::default()));
    let of_sample = starting.clone();
    let sample = move || of_sample.node().and_then(|node| node.member().map(|member| http::sample(member)));
    let metrics = Arc::new(Metrics::new(sample));
    let (live, ready) = (starting.clone(), starting.clone());
    let pages = Pages {
        metrics: metrics.clone(),
        live: Box::new(move || live.check_alive()),
        ready: Box::new(move || ready.check_ready()),
    };
    let http_server = tokio::spawn(http::serve(probes, pages, std::future::pending()));
    let at_start = starting.clone();
    let mut opened = tokio::spawn(async move { open::open(options, &at_start, peers).await });
    let node = tokio::select! {
        opened = &mut opened => opened.map_err(|error| NodeError::Io { what: "starting", source: error.into() })??,
        () = signals.asked() => {
            tracing::info!("asked to stop before the start was done");
            return Ok(());
        }
    };
    starting.done(node.clone());
    serve(node, (kv.listen()?, peer.listen()?), metrics, &signals).await?;
    http_server.abort();
    Ok(())
}

async fn serve(
    node: Arc<Node>,
    (kv, peer): (TcpListener, TcpListener),
    metrics: Arc<Metrics>,
    signals: &Signals,
) -> Result<(), NodeError> {
    let service = KvService::new(node.clone(), metrics, PipeLimits::default(), node.stopping.child_token());
    let (reporter, health) = tonic_health::server::health_reporter();
    let kv_router = grpc::kv_router(service, health)?;
    let peer_service = PeerService::new(node.clone(), node.inbound.clone());
    let peer_router = grpc::peer_router(peer_service, AdminService::new(node.clone()));
    // While leaders move away both ports serve: what is asked here too early or too late is answered with who leads. Then
    // the kv port takes no new calls; the peer port stays until the goodbye is said.
    let closing = tokio_util::sync::CancellationToken::new();
    let kv_server = tokio::spawn(grpc::serve(kv_router, kv, node.stopping.clone().cancelled_owned()));
    let peer_server = node.peers.spawn(grpc::serve(peer_router, peer, closing.clone().cancelled_owned()));
    let health = tokio::spawn(stop::report_health(node.clone(), reporter));
    tokio::select! {
        () = signals.asked() => {}
        () = node.restart.cancelled() => {}
    }
    stop::gracefully(&node).await;
    closing.cancel();
    for server in [kv_server.abort_handle(), peer_server.abort_handle()] {
        server.abort();
    }
    health.abort();
    if node.restart.is_cancelled() { Err(NodeError::Damaged) } else { Ok(()) }
}

/// A port that is this process's, and where nobody is let in yet.
struct Port {
    flag: &'static str,
    address: SocketAddr,
    socket: TcpSocket,
}

impl Port {
    fn take(flag: &'static str, address: SocketAddr) -> Result<Self, NodeError> {
        let take = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(socket)
        };
        take().map(|socket| Self { flag, address, socket }).map_err(|source| NodeError::Listen {
            flag,
            address,
            source,
        })
    }

    fn listen(self) -> Result<TcpListener, NodeError> {
        let Self { flag, address, socket } = self;
        socket.listen(BACKLOG).map_err(|source| NodeError::Listen { flag, address, source })
    }
}
