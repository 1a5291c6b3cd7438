//! A cluster of scripted nodes on 127.0.0.1: they serve the map and record what comes over their Pipes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::BoxStream};
use granary_client::{Client, Options};
use granary_common::{SlotRange, limits::MAX_MESSAGE};
use granary_proto::{
    kv::{
        self, GetClusterMapRequest, GetClusterMapResponse, GetResponse, Hint, PipeRequest, PipeResponse, PutResponse,
        Reason, Retry, Welcome, kv_server, pipe_request::Request as Asked, pipe_response::Response as Answer,
    },
    map::{self, ClusterMap},
};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// What a node does with a request.
pub enum Reply {
    /// Answers.
    With(Answer),
    /// Never answers.
    Silence,
    /// Says that it lives for so long, then answers.
    Late(Duration, Answer),
    /// Breaks the Pipe.
    Cut,
}

type Script = Box<dyn FnMut(&PipeRequest) -> Reply + Send>;

/// One scripted node.
pub struct Node {
    pub id: u64,
    pub address: String,
    script: Mutex<Script>,
    seen: Mutex<Vec<(Instant, PipeRequest)>>,
    pub pipes: AtomicUsize,
    welcome: Mutex<Welcome>,
    map: Arc<Mutex<ClusterMap>>,
}

/// Nodes and the map that they serve.
pub struct Cluster {
    pub nodes: Vec<Arc<Node>>,
}

impl Cluster {
    /// `nodes` nodes that each have a replica of each of `shards` shards, and by default answer as if they led all.
    pub async fn start(nodes: u64, shards: u32) -> Self {
        let map = Arc::new(Mutex::new(ClusterMap::default()));
        let mut started = Vec::new();
        for id in 1..=nodes {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let node = Arc::new(Node {
                id,
                address: listener.local_addr().unwrap().to_string(),
                script: Mutex::new(Box::new(|request| Reply::With(good_answer(request)))),
                seen: Mutex::default(),
                pipes: AtomicUsize::new(0),
                welcome: Mutex::new(Welcome {
                    max_requests_in_flight: 10_000,
                    max_bytes_in_flight: 64 << 20,
                    node_id: id,
                }),
                map: map.clone(),
            });
            let service = kv_server::KvServer::new(Service(node.clone()))
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE);
            let router = tonic::transport::Server::builder().add_service(service);
            tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
            started.push(node);
        }
        *map.lock() = map_of(&started, shards);
        Self { nodes: started }
    }

    /// From now on the map says that all nodes are at `address`.
    pub fn move_in_map(&self, address: &str) {
        let mut map = self.nodes[0].map.lock();
        map.version += 1;
        for node in &mut map.nodes {
            node.addresses = Some(map::Addresses { kv: address.to_owned(), peer: String::new() });
        }
    }

    /// From now on the map says that node `id` is at `address`.
    pub fn move_one_in_map(&self, id: u64, address: &str) {
        let mut map = self.nodes[0].map.lock();
        map.version += 1;
        for node in map.nodes.iter_mut().filter(|node| node.id == id) {
            node.addresses = Some(map::Addresses { kv: address.to_owned(), peer: String::new() });
        }
    }

    /// A client that knows the first node.
    pub async fn client(&self, options: Options) -> Client {
        Client::connect([self.nodes[0].address.clone()], options).await.unwrap()
    }
}

impl Node {
    pub fn script(&self, script: impl FnMut(&PipeRequest) -> Reply + Send + 'static) {
        *self.script.lock() = Box::new(script);
    }

    pub fn allow(&self, requests: u32) {
        self.welcome.lock().max_requests_in_flight = requests;
    }

    /// What came, in order.
    pub fn seen(&self) -> Vec<PipeRequest> {
        self.seen.lock().iter().map(|(_, request)| request.clone()).collect()
    }

    /// When it came.
    pub fn seen_at(&self) -> Vec<Instant> {
        self.seen.lock().iter().map(|(at, _)| *at).collect()
    }
}

fn map_of(nodes: &[Arc<Node>], shards: u32) -> ClusterMap {
    let replicas: Vec<_> = nodes.iter().map(|node| map::Replica { id: node.id, node_id: node.id, role: 1 }).collect();
    let shard = |id: u32| {
        let range = SlotRange::of_shard(id - 1, shards);
        map::Shard {
            id,
            range: Some(map::SlotRange { start: range.start.into(), end: range.end.into() }),
            target: Some(map::Target { number: 1, replicas: replicas.clone() }),
            group: None,
        }
    };
    let meta = map::Shard { id: 0, range: Some(map::SlotRange::default()), ..shard(1) };
    let node = |node: &Arc<Node>| map::Node {
        id: node.id,
        addresses: Some(map::Addresses { kv: node.address.clone(), peer: String::new() }),
        ..map::Node::default()
    };
    ClusterMap {
        cluster_id: "6a8a3c6e-0000-4000-8000-000000000001".to_owned(),
        version: 1,
        shard_count: shards,
        nodes: nodes.iter().map(node).collect(),
        shards: std::iter::once(meta).chain((1..=shards).map(shard)).collect(),
        ..ClusterMap::default()
    }
}

/// Whether a request asks to be passed on.
pub fn asks_to_forward(request: &PipeRequest) -> bool {
    let routing = match &request.request {
        Some(Asked::Get(get)) => get.routing,
        Some(Asked::Put(put)) => put.routing,
        Some(Asked::Batch(batch)) => batch.routing,
        Some(Asked::Scan(scan)) => scan.routing,
        _ => None,
    };
    routing.is_some_and(|routing| routing.forward)
}

/// What a leader of an empty cluster answers to a get or put.
pub fn good_answer(request: &PipeRequest) -> Answer {
    match &request.request {
        Some(Asked::Get(_)) => Answer::Get(GetResponse::default()),
        Some(Asked::Put(_)) => Answer::Put(PutResponse { revision: 1 }),
        other => error(Reason::Internal, &format!("not scripted: {other:?}")),
    }
}

pub fn error(reason: Reason, message: &str) -> Answer {
    Answer::Error(kv::Error { reason: reason.into(), message: message.to_owned(), ..kv::Error::default() })
}

pub fn busy(retry_after_ms: u64) -> Answer {
    let message = "too many requests".to_owned();
    Answer::Error(kv::Error { reason: Reason::Busy.into(), message, retry_after_ms, ..kv::Error::default() })
}

pub fn not_leader(leader_node_id: u64) -> Answer {
    let hint = Some(Hint { leader_node_id, ..Hint::default() });
    let message = "not the leader".to_owned();
    Answer::Error(kv::Error { reason: Reason::NotLeader.into(), message, hint, ..kv::Error::default() })
}

/// The number of a write.
pub fn retry_of(request: &PipeRequest) -> Retry {
    match &request.request {
        Some(Asked::Put(put)) => put.retry,
        Some(Asked::Batch(batch)) => batch.retry,
        _ => None,
    }
    .expect("a numbered write")
}

/// Waits until `condition` holds; fails after five seconds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 5 s: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn only_pipe() -> Status {
    Status::unimplemented("these nodes serve Pipe and the map only")
}

struct Service(Arc<Node>);

#[tonic::async_trait]
impl kv_server::Kv for Service {
    type ScanStream = BoxStream<'static, Result<kv::ScanResponse, Status>>;
    type PipeStream = ReceiverStream<Result<PipeResponse, Status>>;

    async fn get(&self, _: Request<kv::GetRequest>) -> Result<Response<kv::GetResponse>, Status> {
        Err(only_pipe())
    }

    async fn put(&self, _: Request<kv::PutRequest>) -> Result<Response<kv::PutResponse>, Status> {
        Err(only_pipe())
    }

    async fn delete(&self, _: Request<kv::DeleteRequest>) -> Result<Response<kv::DeleteResponse>, Status> {
        Err(only_pipe())
    }

    async fn compare_and_set(
        &self,
        _: Request<kv::CompareAndSetRequest>,
    ) -> Result<Response<kv::CompareAndSetResponse>, Status> {
        Err(only_pipe())
    }

    async fn batch(&self, _: Request<kv::BatchRequest>) -> Result<Response<kv::BatchResponse>, Status> {
        Err(only_pipe())
    }

    async fn txn(&self, _: Request<kv::TxnRequest>) -> Result<Response<kv::TxnResponse>, Status> {
        Err(only_pipe())
    }

    async fn delete_range(
        &self,
        _: Request<kv::DeleteRangeRequest>,
    ) -> Result<Response<kv::DeleteRangeResponse>, Status> {
        Err(only_pipe())
    }

    async fn scan(&self, _: Request<kv::ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        Err(only_pipe())
    }

    async fn pipe(&self, request: Request<Streaming<PipeRequest>>) -> Result<Response<Self::PipeStream>, Status> {
        self.0.pipes.fetch_add(1, Ordering::SeqCst);
        let (answers, stream) = mpsc::channel(1024);
        let welcome = PipeResponse { id: 0, response: Some(Answer::Welcome(*self.0.welcome.lock())) };
        let _ = answers.send(Ok(welcome)).await;
        let mut requests = request.into_inner();
        let node = self.0.clone();
        tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                node.seen.lock().push((Instant::now(), request.clone()));
                let reply = (node.script.lock())(&request);
                let sent = match reply {
                    Reply::Silence => Ok(()),
                    Reply::With(answer) => {
                        answers.send(Ok(PipeResponse { id: request.id, response: Some(answer) })).await
                    }
                    Reply::Late(time, answer) => {
                        let until = Instant::now() + time;
                        while Instant::now() < until {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                            let word = Answer::Welcome(*node.welcome.lock());
                            let _ = answers.send(Ok(PipeResponse { id: 0, response: Some(word) })).await;
                        }
                        answers.send(Ok(PipeResponse { id: request.id, response: Some(answer) })).await
                    }
                    Reply::Cut => {
                        let _ = answers.send(Err(Status::unavailable("cut by the script"))).await;
                        return;
                    }
                };
                if sent.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_cluster_map(
        &self,
        request: Request<GetClusterMapRequest>,
    ) -> Result<Response<GetClusterMapResponse>, Status> {
        let map = self.0.map.lock().clone();
        let known = request.into_inner().known_version;
        Ok(Response::new(GetClusterMapResponse { map: (known < map.version).then_some(map), leaders: Vec::new() }))
    }
}
