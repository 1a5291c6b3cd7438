//! The gRPC servers: which services stand on which port, and how connections are bounded and kept alive.

use std::{future::Future, time::Duration};

use granary_common::limits::MAX_MESSAGE;
use granary_proto::{
    DESCRIPTORS,
    admin::admin_server::{Admin, AdminServer},
    kv::kv_server,
    raft::peer_server::{Peer, PeerServer},
};
use thiserror::Error;
use tokio::net::TcpListener;
use tonic::transport::{
    Server,
    server::{Router, TcpIncoming},
};
use tonic_health::pb::health_server::{self, Health, HealthServer};

use super::{execute::Execute, kv::KvService};

/// Bytes that a client may send ahead on one stream, and on a connection.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Calls under way on one connection; more wait in the client.
const STREAMS: u32 = 1024;
/// A connection that is silent for the interval is asked for a sign of life, and closed when none comes in the timeout. Who
/// opened it asks more often: this only ends what the dead have left.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a server ended early, or could not begin.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The compiled descriptors cannot be read.
    #[error("the descriptors for gRPC reflection cannot be read")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The listener failed.
    #[error("the gRPC server ended")]
    Transport(#[source] tonic::transport::Error),
}

fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
}

/// The kv port: the data API, health and reflection.
///
/// # Errors
/// When the compiled descriptors cannot be read.
pub fn kv_router<E: Execute, H: Health>(service: KvService<E>, health: HealthServer<H>) -> Result<Router, ServeError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // The descriptors name the services of the other port too.
        .with_service_name(kv_server::SERVICE_NAME)
        .with_service_name(health_server::SERVICE_NAME)
        .build_v1()
        .map_err(ServeError::Reflection)?;
    Ok(server().add_service(service.into_server()).add_service(health).add_service(reflection))
}

/// The peer port: other nodes and the operator.
pub fn peer_router<P: Peer, A: Admin>(peer: P, admin: A) -> Router {
    let peer = PeerServer::new(peer).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
    let admin = AdminServer::new(admin).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
    server().add_service(peer).add_service(admin)
}

/// Serves until `stop` is ready, then takes no new calls and waits for those under way.
///
/// # Errors
/// When the listener fails.
pub async fn serve(router: Router, listener: TcpListener, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
    // Nagle's algorithm would hold small answers back.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    router.serve_with_incoming_shutdown(incoming, stop).await.map_err(ServeError::Transport)
}
