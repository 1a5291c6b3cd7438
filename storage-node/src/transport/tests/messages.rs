//! Streams of messages: in order, at most once, bounded.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use granary_common::NodeId;
use granary_proto::raft::{
    Lane as WireLane, MessagesFrame, Open, RaftBody, RaftMessage, SnapshotMeta, raft_message::Body,
};
use granary_store::{Lane, Send};
use tokio::{io::copy_bidirectional, net::TcpStream, runtime::Handle, sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status};

use super::{Given, TestNode, eventually, listen, map_of, message, peers, sender, sender_at, serve, store};
use crate::{
    drivers::Outbound as _,
    transport::{HEARD_WITHIN, Limits, Peers, Streams, unreachable::Unreachable},
};

fn send(streams: &Streams, lane: Lane, numbers: impl Iterator<Item = u64>) {
    streams.send(numbers.map(|number| Send { to: NodeId(2), lane, message: message(1, number) }).collect());
}

/// Node 2, and what node 1 needs to reach it at `address` (or directly).
async fn receiver() -> (std::net::SocketAddr, TestNode, Given, AbortOnDropHandle<()>) {
    let (listener, address) = listen().await;
    let (node, given) = TestNode::new(peers(sender_at(2, address), Vec::new(), map_of(&[])));
    let server = serve(listener, node.inbound.clone());
    (address, node, given, server)
}

fn sending_peers(address: std::net::SocketAddr) -> Arc<Peers> {
    peers(sender(1, 1), Vec::new(), map_of(&[(2, address.to_string())]))
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_lane_arrive_once_and_in_order() {
    let (address, _node, given, _server) = receiver().await;
    let streams =
        Streams::new(sending_peers(address), Limits { frame_bytes: 1000, ..Limits::default() }, Handle::current());
    for number in 1..=2000 {
        send(&streams, Lane::Appends, number..=number);
    }
    let (numbers, given) = given.until(2000).await;
    assert_eq!(numbers, Vec::from_iter(1..=2000));
    send(&streams, Lane::Heartbeats, 1..=3);
    assert_eq!(given.until(3).await.0, [1, 2, 3]);
}

/// Hands bytes on to `to`. Each message to it breaks all connections that stand; dropped, it breaks them for good.
async fn proxy(to: std::net::SocketAddr) -> (std::net::SocketAddr, mpsc::Sender<()>, AbortOnDropHandle<()>) {
    let (listener, address) = listen().await;
    let (cut, mut cuts) = mpsc::channel::<()>(1);
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(()) = cuts.recv() => connections.shutdown().await,
                accepted = listener.accept() => {
                    let (mut from, _) = accepted.unwrap();
                    connections.spawn(async move {
                        let mut to = TcpStream::connect(to).await.unwrap();
                        let _ = copy_bidirectional(&mut from, &mut to).await;
                    });
                }
            }
        }
    });
    (address, cut, AbortOnDropHandle::new(task))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_stream_loses_messages_but_never_repeats_or_reorders_them_and_the_store_is_told() {
    let (address, _node, given, _server) = receiver().await;
    let (through, cut, _proxy) = proxy(address).await;
    let streams =
        Streams::new(sending_peers(through), Limits { frame_bytes: 1000, ..Limits::default() }, Handle::current());
    let (handle, told) = store();
    streams.attach(handle);
    send(&streams, Lane::Appends, 1..=1000);
    let (mut numbers, given) = given.until(1000).await;
    send(&streams, Lane::Appends, 1001..=20_000);
    cut.send(()).await.unwrap();
    let (node, _told) = told.unreachable().await;
    assert_eq!(node, NodeId(2));
    send(&streams, Lane::Appends, 20_001..=20_100);
    let (more, _) = given.until(20_100).await;
    numbers.extend(more);
    assert!(numbers.is_sorted_by(|one, next| one < next), "repeated or out of order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_connections_were_cut_may_be_followed_by_its_next_start_at_once() {
    let (address, node, given, _server) = receiver().await;
    let (through, _cut, proxy) = proxy(address).await;
    let streams = Streams::new(sending_peers(through), Limits::default(), Handle::current());
    send(&streams, Lane::Appends, 1..=1);
    let (_, _given) = given.until(1).await;
    let theirs = node.inbound.peers.clone();
    assert!(theirs.admit(&sender(1, 2)).is_err(), "the first one lives");
    let cut_at = Instant::now();
    drop(proxy);
    eventually("the next start is let in", || theirs.admit(&sender(1, 2)).is_ok()).await;
    assert!(cut_at.elapsed() < HEARD_WITHIN / 2, "{:?}", cut_at.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_to_which_a_stream_broke_may_be_followed_by_its_next_start_at_once() {
    let (listener, address) = listen().await;
    let (through, _cut, proxy) = proxy(address).await;
    let (node, given) = TestNode::new(peers(sender_at(2, through), Vec::new(), map_of(&[])));
    let _server = serve(listener, node.inbound.clone());
    let ours = sending_peers(through);
    let streams = Streams::new(ours.clone(), Limits::default(), Handle::current());
    assert_eq!(ours.admit(&sender_at(2, through)), Ok(()));
    send(&streams, Lane::Appends, 1..=1);
    let (_, _given) = given.until(1).await;
    assert!(ours.admit(&sender(2, 2)).is_err(), "the first one lives");
    let cut_at = Instant::now();
    drop(proxy);
    eventually("the next start is let in", || ours.admit(&sender(2, 2)).is_ok()).await;
    assert!(cut_at.elapsed() < HEARD_WITHIN / 2, "{:?}", cut_at.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_drops_messages_and_tells_the_store() {
    // Takes connections, and never reads.
    let (_listener, address) = listen().await;
    let streams =
        Streams::new(sending_peers(address), Limits { append_bytes: 1, ..Limits::default() }, Handle::current());
    let (handle, told) = store();
    streams.attach(handle);
    send(&streams, Lane::Appends, 1..=100);
    let (node, _) = tokio::time::timeout(Duration::from_secs(2), told.unreachable()).await.unwrap();
    assert_eq!(node, NodeId(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_told_of_an_unreachable_node_ten_times_a_second_and_of_the_last_loss_too() {
    let unreachable = Arc::new(Unreachable::new(Handle::current()));
    let (handle, mut told) = store();
    unreachable.attach(handle);
    let began = Instant::now();
    unreachable.tell(NodeId(2));
    (_, told) = told.unreachable().await;
    for _ in 0..1000 {
        unreachable.tell(NodeId(2));
    }
    (_, told) = told.unreachable().await;
    assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
    assert!(told.is_empty());
    unreachable.tell(NodeId(3));
    assert_eq!(told.unreachable().await.0, NodeId(3), "each node has its own turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaders_shall_leave_says_so_with_each_frame_until_they_may_come_back() {
    let (address, node, given, _server) = receiver().await;
    let ours = sending_peers(address);
    let streams = Streams::new(ours.clone(), Limits::default(), Handle::current());
    send(&streams, Lane::Heartbeats, 1..=1);
    let (_, given) = given.until(1).await;
    assert_eq!(node.inbound.peers.slow_nodes(), []);
    ours.set_slow_here(true);
    send(&streams, Lane::Heartbeats, 2..=2);
    let (_, given) = given.until(2).await;
    assert_eq!(node.inbound.peers.slow_nodes(), [NodeId(1)]);
    ours.set_slow_here(false);
    send(&streams, Lane::Heartbeats, 3..=3);
    given.until(3).await;
    assert_eq!(node.inbound.peers.slow_nodes(), []);
}

/// A stream whose frames the test sends by hand.
struct ByHand {
    frames: mpsc::Sender<Result<MessagesFrame, Status>>,
    outcome: tokio::task::JoinHandle<Result<(), Status>>,
}

impl ByHand {
    async fn open(node: &TestNode, open: Open) -> Self {
        let (frames, stream) = mpsc::channel(16);
        let inbound = node.inbound.clone();
        let outcome = tokio::spawn(async move { inbound.messages(ReceiverStream::new(stream)).await.map(|_| ()) });
        let this = Self { frames, outcome };
        this.frame(MessagesFrame { open: Some(open), ..MessagesFrame::default() }).await;
        this
    }

    async fn frame(&self, frame: MessagesFrame) {
        let _ = self.frames.send(Ok(frame)).await;
    }

    async fn send(&self, messages: Vec<RaftMessage>) {
        self.frame(MessagesFrame { messages, ..MessagesFrame::default() }).await;
    }

    async fn refusal(self) -> Status {
        tokio::time::timeout(super::SOON, self.outcome).await.unwrap().unwrap().unwrap_err()
    }
}

fn open(number: u64) -> Open {
    Open { sender: Some(sender(1, 1)), to_node_id: 2, lane: WireLane::Appends.into(), number }
}

fn node_two() -> (TestNode, Given) {
    TestNode::new(peers(sender(2, 1), Vec::new(), map_of(&[])))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_stream_silences_the_older_before_it_speaks() {
    let (node, given) = node_two();
    let old = ByHand::open(&node, open(1)).await;
    old.send(vec![message(1, 1)]).await;
    let (_, given) = given.until(1).await;
    let new = ByHand::open(&node, open(2)).await;
    new.send(vec![message(1, 2)]).await;
    let (numbers, given) = given.until(2).await;
    assert_eq!(numbers, [2]);
    old.send(vec![message(1, 3)]).await;
    assert_eq!(old.refusal().await.code(), Code::Aborted);
    let late = ByHand::open(&node, open(1)).await;
    late.send(vec![message(1, 4)]).await;
    assert_eq!(late.refusal().await.code(), Code::Aborted);
    assert!(given.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_for_another_node_is_refused_by_both_names() {
    let (node, _given) = node_two();
    let refusal = ByHand::open(&node, Open { to_node_id: 3, ..open(1) }).await.refusal().await;
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert!(refusal.message().contains("node 3") && refusal.message().contains("node 2"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_for_another_node() {
    let (node, given) = node_two();
    let stream = ByHand::open(&node, open(1)).await;
    stream.send(vec![message(1, 1), message(3, 2)]).await;
    let refusal = stream.refusal().await;
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert!(refusal.message().contains("from_node is 3"), "{refusal}");
    assert!(given.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshots_message_does_not_come_without_its_files() {
    let (node, given) = node_two();
    let stream = ByHand::open(&node, open(1)).await;
    let body = RaftBody { snapshot: Some(SnapshotMeta::default()), ..Default::default() };
    stream.send(vec![RaftMessage { body: Some(Body::Raft(body)), ..message(1, 1) }]).await;
    assert_eq!(stream.refusal().await.code(), Code::InvalidArgument);
    assert!(given.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_must_begin_with_open_and_name_its_lane() {
    let (node, _given) = node_two();
    let nameless = ByHand::open(&node, Open { lane: 0, ..open(1) }).await.refusal().await;
    assert!(nameless.message().contains("open.lane is 0"), "{nameless}");
    let (frames, stream) = mpsc::channel(1);
    frames.send(Ok(MessagesFrame::default())).await.unwrap();
    let closed = node.inbound.messages(ReceiverStream::new(stream)).await.unwrap_err();
    assert_eq!(closed.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_incarnation_is_silenced_once_its_successor_was_let_in() {
    let (node, given) = node_two();
    let old = ByHand::open(&node, open(1)).await;
    old.send(vec![message(1, 1)]).await;
    let (_, given) = given.until(1).await;
    node.inbound.peers.said_goodbye(&sender(1, 1));
    assert_eq!(node.inbound.peers.admit(&sender(1, 2)), Ok(()));
    old.send(vec![message(1, 2)]).await;
    assert_eq!(old.refusal().await.code(), Code::FailedPrecondition);
    assert!(given.is_empty());
}
