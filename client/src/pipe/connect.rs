//! Opens a stream, and reads it until it breaks.

use std::{
    error::Error,
    sync::{Arc, OnceLock},
    time::Duration,
};

use granary_common::limits::MAX_MESSAGE;
use granary_proto::kv::{PipeRequest, PipeResponse, Welcome, kv_client::KvClient, pipe_response::Response};
use tokio::sync::{mpsc, oneshot};
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};

use super::{Pipe, in_flight::InFlight, outgoing::Outgoing};
use crate::Options;

/// A connection whose other end does not answer pings for this long is dead, also when nothing is asked.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between pings.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes that a node may send ahead of our reading.
const WINDOW: u32 = 16 * 1024 * 1024;

/// Metadata by which a node of another cluster, at an address that was ours once, refuses a stream.
const MEANT_FOR: &str = "granary-cluster-id";

/// What a stream is opened with. Clones share the cluster's id.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Id of the cluster, once the first map told it.
    pub(crate) cluster_id: Arc<OnceLock<String>>,
    /// For the connection and the welcome.
    pub(crate) connect_timeout: Duration,
    /// Own bound; the node's welcome may lower it.
    pub(crate) requests: usize,
    /// Own bound; the node's welcome may lower it.
    pub(crate) bytes: u64,
}

impl From<&Options> for Limits {
    fn from(options: &Options) -> Self {
        Self {
            cluster_id: Arc::default(),
            connect_timeout: options.connect_timeout,
            requests: options.max_requests_in_flight,
            bytes: options.max_bytes_in_flight,
        }
    }
}

/// Connects, opens the stream and waits for the welcome, all within the time of `limits`.
pub(super) async fn connect(address: &str, limits: &Limits) -> Result<Pipe, String> {
    match tokio::time::timeout(limits.connect_timeout, open(address, limits)).await {
        Ok(result) => result,
        Err(_) => Err(format!("no connection within {:?}", limits.connect_timeout)),
    }
}

async fn open(address: &str, limits: &Limits) -> Result<Pipe, String> {
    let channel = dial(address, limits.connect_timeout).await?;
    let unary = KvClient::new(channel).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
    let (queue, jobs) = mpsc::unbounded_channel();
    // The table's size is known with the welcome, which comes over the stream that needs the table.
    let (ready, table) = oneshot::channel::<Arc<InFlight>>();
    let outgoing = futures::StreamExt::flatten(futures::stream::once(async move {
        let outgoing = table.await.ok().map(|in_flight| Outgoing { queue: jobs, in_flight });
        futures::StreamExt::flatten(futures::stream::iter(outgoing))
    }));
    let mut incoming = start(unary.clone(), outgoing, limits.cluster_id.get()).await?;
    let welcome = welcome(&mut incoming).await?;
    let requests = limits.requests.min(welcome.max_requests_in_flight as usize);
    let bytes = limits.bytes.min(welcome.max_bytes_in_flight);
    let in_flight = Arc::new(InFlight::new(requests, bytes));
    let _ = ready.send(in_flight.clone());
    let reader = tokio::spawn(read(incoming, in_flight.clone())).abort_handle();
    Ok(Pipe { queue, in_flight, unary, reader })
}

/// A name is resolved anew each time. Where it has several addresses each gets a part of the time, so that one that is dead
/// does not take all of it.
async fn dial(address: &str, limit: Duration) -> Result<Channel, String> {
    Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| format!("not an address: {error}"))?
        .connect_timeout(limit)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .connect()
        .await
        .map_err(|error| root_cause(&error))
}

async fn start(
    mut client: KvClient<Channel>,
    outgoing: impl futures::Stream<Item = PipeRequest> + Send + 'static,
    cluster_id: Option<&String>,
) -> Result<Streaming<PipeResponse>, String> {
    let mut request = tonic::Request::new(outgoing);
    // An id that is no text cannot come from a node of ours.
    if let Some(id) = cluster_id.and_then(|id| id.parse().ok()) {
        request.metadata_mut().insert(MEANT_FOR, id);
    }
    client.pipe(request).await.map(tonic::Response::into_inner).map_err(|status| describe(&status))
}

async fn welcome(incoming: &mut Streaming<PipeResponse>) -> Result<Welcome, String> {
    match incoming.message().await.map_err(|status| describe(&status))? {
        Some(PipeResponse { response: Some(Response::Welcome(welcome)), .. }) => Ok(welcome),
        Some(PipeResponse { response: Some(Response::Error(error)), .. }) => Err(error.message),
        Some(_) => Err("the node did not say welcome first; is this a Granary node's data API?".to_owned()),
        None => Err("the node closed the stream".to_owned()),
    }
}

async fn read(mut incoming: Streaming<PipeResponse>, in_flight: Arc<InFlight>) {
    let cause = loop {
        match incoming.message().await {
            // It lives, and is only slow.
            Ok(Some(PipeResponse { response: Some(Response::Welcome(_)), .. })) => in_flight.heard(),
            Ok(Some(PipeResponse { id, response: Some(response) })) => {
                if !in_flight.answer(id, response) {
                    break format!("the node answered request {id}, which was not asked");
                }
            }
            Ok(Some(PipeResponse { id, response: None })) => {
                break format!("the node answered request {id} with nothing");
            }
            Ok(None) => break "the node closed the stream".to_owned(),
            Err(status) => break describe(&status),
        }
    };
    in_flight.cut(&cause);
}

/// A gRPC status in words.
pub(super) fn describe(status: &Status) -> String {
    match status.source() {
        // The status was made here, from what broke the connection.
        Some(source) => root_cause(source),
        None if status.message().is_empty() => format!("gRPC status {:?}", status.code()),
        None => status.message().to_owned(),
    }
}

/// The innermost error says most: "connection refused", where the outer ones say "transport error".
fn root_cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
