//! The transport over real connections on this machine, with a store that only notes what it is given.

mod admission;
mod discovery;
mod messages;
mod snapshots;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use granary_common::NodeId;
use granary_engine::{
    Disk, EngineOptions,
    snapshot::{Received, StagingArea},
};
use granary_proto::{
    map::{Addresses, ClusterMap, Node},
    raft::{
        HelloRequest, HelloResponse, JoinClusterRequest, JoinClusterResponse, MessagesClosed, MessagesFrame,
        PushMapRequest, PushMapResponse, RaftBody, RaftMessage, ReportRequest, ReportResponse, Sender, SnapshotFrame,
        SnapshotReply,
        peer_server::{Peer, PeerServer},
        raft_message::Body,
    },
    storage::Identity,
};
use granary_store::Event;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use super::{Inbound, Limits, Peers, PersistIncarnation};
use crate::{
    drivers::{Board, SnapshotInbox, StoreHandle, StoreInput, Waiters},
    map::MapHolder,
};

const CLUSTER: &str = "cluster-a";
/// For conditions that come true by themselves.
const SOON: Duration = Duration::from_secs(10);

fn sender(node: u64, incarnation: u64) -> Sender {
    Sender {
        cluster_id: CLUSTER.into(),
        node_id: node,
        uuid: format!("disk-{node}"),
        incarnation,
        addresses: Some(Addresses { kv: format!("127.0.0.1:{}", 20 + node), peer: format!("127.0.0.1:{}", 40 + node) }),
        process: 1000 + incarnation,
    }
}

fn sender_at(node: u64, address: SocketAddr) -> Sender {
    let addresses = Addresses { kv: address.to_string(), peer: address.to_string() };
    Sender { addresses: Some(addresses), ..sender(node, 1) }
}

/// A map in which these nodes are at these addresses.
fn map_of(nodes: &[(u64, String)]) -> MapHolder {
    let nodes = nodes.iter().map(|(id, peer)| Node {
        id: *id,
        uuid: format!("disk-{id}"),
        addresses: Some(Addresses { kv: String::new(), peer: peer.clone() }),
        ..Default::default()
    });
    MapHolder::new(ClusterMap { cluster_id: CLUSTER.into(), version: 1, nodes: nodes.collect(), ..Default::default() })
}

fn peers(own: Sender, seeds: Vec<String>, map: MapHolder) -> Arc<Peers> {
    let persist: PersistIncarnation = Box::new(|_, _| {});
    Peers::new(own, seeds, map, Vec::new(), persist)
}

/// A message that carries a number.
fn message(from_node: u64, number: u64) -> RaftMessage {
    let body = Body::Raft(RaftBody { index: number, ..Default::default() });
    RaftMessage { from_node, body: Some(body), ..Default::default() }
}

fn number(message: &RaftMessage) -> u64 {
    match &message.body {
        Some(Body::Raft(raft)) => raft.index,
        _ => panic!("not a message of these tests: {message:?}"),
    }
}

/// What a store was given.
struct Given(crossbeam_channel::Receiver<StoreInput>);

enum Input {
    Messages(Vec<RaftMessage>),
    Unreachable(NodeId),
}

impl Given {
    fn next(&self, deadline: Instant) -> Option<Input> {
        match self.0.recv_deadline(deadline).ok()? {
            StoreInput::Messages(messages, _credit) => Some(Input::Messages(messages)),
            StoreInput::Event(Event::Unreachable { node }) => Some(Input::Unreachable(node)),
            _ => panic!("the transport gives only messages and unreachable nodes"),
        }
    }

    /// Messages until `last` was among them.
    async fn until(self, last: u64) -> (Vec<u64>, Self) {
        tokio::task::spawn_blocking(move || {
            let deadline = Instant::now() + SOON;
            let mut numbers = Vec::new();
            while numbers.last() != Some(&last) {
                match self.next(deadline) {
                    Some(Input::Messages(messages)) => numbers.extend(messages.iter().map(number)),
                    Some(Input::Unreachable(_)) => {}
                    None => panic!("message {last} did not come; came: {numbers:?}"),
                }
            }
            (numbers, self)
        })
        .await
        .unwrap()
    }

    /// Waits until the store is told of an unreachable node.
    async fn unreachable(self) -> (NodeId, Self) {
        tokio::task::spawn_blocking(move || {
            let deadline = Instant::now() + SOON;
            loop {
                match self.next(deadline) {
                    Some(Input::Unreachable(node)) => return (node, self),
                    Some(Input::Messages(_)) => {}
                    None => panic!("the store was not told that a node is unreachable"),
                }
            }
        })
        .await
        .unwrap()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn store() -> (StoreHandle, Given) {
    let (events, given) = crossbeam_channel::unbounded();
    let handle = StoreHandle::new(
        (events.clone(), events),
        Arc::new(Waiters::default()),
        Arc::new(Board::new()),
        crate::drivers::Limits::default(),
    );
    (handle, Given(given))
}

/// Names every snapshot 77, and keeps the last.
#[derive(Default)]
struct OneInbox(parking_lot::Mutex<Option<Received>>);

impl SnapshotInbox for OneInbox {
    fn staged(&self, snapshot: Received) -> u64 {
        *self.0.lock() = Some(snapshot);
        77
    }
}

/// The receiving half of a node, with a disk of its own.
struct TestNode {
    inbound: Arc<Inbound>,
    inbox: Arc<OneInbox>,
    disk: Disk,
    directory: TempDir,
}

fn open_disk(directory: &TempDir, node: u64) -> Disk {
    let mut disk = Disk::open(directory.path(), EngineOptions::default()).unwrap();
    let uuid = disk.uuid().to_owned();
    let format = granary_engine::IDENTITY_FORMAT;
    disk.become_member(Identity { format, cluster_id: CLUSTER.into(), node_id: node, uuid }).unwrap();
    disk
}

fn staging(disk: &Disk) -> Arc<StagingArea> {
    disk.stores().unwrap().staging.clone()
}

impl TestNode {
    fn new(peers: Arc<Peers>) -> (Self, Given) {
        let directory = tempfile::tempdir().unwrap();
        let disk = open_disk(&directory, peers.own_id().0);
        let (store, given) = store();
        let inbox = Arc::new(OneInbox::default());
        let inbound = Inbound::new(peers, store, inbox.clone(), staging(&disk), Arc::default(), &Limits::default());
        (Self { inbound, inbox, disk, directory }, given)
    }

    fn staged_names(&self) -> usize {
        std::fs::read_dir(self.directory.path().join("staging")).unwrap().count()
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn serve(listener: TcpListener, inbound: Arc<Inbound>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let service = PeerServer::new(TestService(inbound));
        let _ = Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)).await;
    }))
}

/// The service of a node that has no meta shard.
struct TestService(Arc<Inbound>);

#[tonic::async_trait]
impl Peer for TestService {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        self.0.hello(request.into_inner()).map(Response::new)
    }

    async fn messages(&self, request: Request<Streaming<MessagesFrame>>) -> Result<Response<MessagesClosed>, Status> {
        self.0.messages(request.into_inner()).await.map(Response::new)
    }

    async fn snapshot(&self, request: Request<Streaming<SnapshotFrame>>) -> Result<Response<SnapshotReply>, Status> {
        self.0.snapshot(request.into_inner()).await.map(Response::new)
    }

    async fn report(&self, _: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        Err(Status::unimplemented("no meta shard here"))
    }

    async fn push_map(&self, _: Request<PushMapRequest>) -> Result<Response<PushMapResponse>, Status> {
        Err(Status::unimplemented("no meta shard here"))
    }

    async fn join_cluster(&self, _: Request<JoinClusterRequest>) -> Result<Response<JoinClusterResponse>, Status> {
        Err(Status::unimplemented("no meta shard here"))
    }
}

/// Waits until the condition holds.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
