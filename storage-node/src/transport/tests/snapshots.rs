//! Snapshots arrive whole or leave nothing.

use std::sync::Arc;

use bytes::Bytes;
use granary_common::{NodeId, ShardId};
use granary_engine::snapshot::{Exported, export};
use granary_machine::{Write, rows};
use granary_proto::{
    map,
    raft::{
        RaftBody, RaftMessage, SnapshotDone, SnapshotFrame, SnapshotManifest, SnapshotMeta, SnapshotOpen,
        SnapshotReply, raft_message::Body, snapshot_frame::Frame,
    },
    storage::ShardState,
};
use granary_store::SendSnapshot;
use prost::Message as _;
use tempfile::TempDir;
use tokio::{runtime::Handle, sync::oneshot};
use tonic::{Code, Status};

use super::{Given, Input, SOON, TestNode, listen, map_of, open_disk, peers, sender, sender_at, serve, staging};
use crate::{
    drivers::Outbound as _,
    transport::{Limits, Streams},
};

const SHARD: ShardId = ShardId(1);
const ROWS: u64 = 3000;

/// A snapshot of some rows, made on node 1. Its disk is kept as long as it is used.
fn exported() -> (Arc<Exported>, granary_engine::Disk, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let disk = open_disk(&directory, 1);
    let state = ShardState {
        shard_id: SHARD.0,
        applied_index: 9,
        applied_term: 6,
        range: Some(map::SlotRange { start: 0, end: 100 }),
        ..Default::default()
    };
    let put = |key, value: Vec<u8>| Write::Put { key, value: value.into() };
    let mut writes = vec![put(rows::shard_key(SHARD), state.encode_to_vec())];
    for number in 0..ROWS {
        let value = (0..100).flat_map(|part| scrambled(number * 100 + part).to_be_bytes());
        writes.push(put(rows::data_key_in(7, &number.to_be_bytes()), value.collect()));
    }
    let data = &disk.stores().unwrap().data;
    data.write(&writes).unwrap();
    let exported = export(data, SHARD, &staging(&disk), &mut || ()).unwrap();
    assert!(exported.chunks().count() > 2, "{} bytes", exported.bytes());
    (Arc::new(exported), disk, directory)
}

/// Hard to compress, so that the snapshot is longer than a chunk (SplitMix64).
fn scrambled(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn message() -> RaftMessage {
    let snapshot = SnapshotMeta { index: 9, term: 6, snapshot_id: 1, ..Default::default() };
    let body = RaftBody { snapshot: Some(snapshot), ..Default::default() };
    RaftMessage { shard_id: SHARD.0, from_node: 1, body: Some(Body::Raft(body)), ..Default::default() }
}

fn receiving_node() -> (TestNode, Given) {
    TestNode::new(peers(sender(2, 1), Vec::new(), map_of(&[])))
}

fn open(manifest: SnapshotManifest) -> SnapshotFrame {
    let open =
        SnapshotOpen { sender: Some(sender(1, 1)), to_node_id: 2, message: Some(message()), manifest: Some(manifest) };
    frame(Frame::Open(open))
}

fn frame(frame: Frame) -> SnapshotFrame {
    SnapshotFrame { frame: Some(frame) }
}

fn frames(exported: &Exported) -> Vec<SnapshotFrame> {
    let chunks = exported.chunks().map(|chunk| frame(Frame::Chunk(chunk.unwrap())));
    [open(exported.manifest().clone())].into_iter().chain(chunks).chain([frame(Frame::Done(SnapshotDone {}))]).collect()
}

async fn receive(node: &TestNode, frames: Vec<Result<SnapshotFrame, Status>>) -> Result<SnapshotReply, Status> {
    node.inbound.snapshot(futures::stream::iter(frames)).await
}

fn assert_nothing_left(node: &TestNode, given: &Given) {
    assert_eq!(node.staged_names(), 0, "files were left in staging/");
    assert!(node.inbox.0.lock().is_none());
    assert!(given.is_empty(), "a message entered the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_streamed_and_its_message_enters_the_store_with_the_receivers_name_for_it() {
    let (exported, _disk, _directory) = exported();
    let (listener, address) = listen().await;
    let (node, given) = TestNode::new(peers(sender_at(2, address), Vec::new(), map_of(&[])));
    let _server = serve(listener, node.inbound.clone());
    let streams = Streams::new(
        peers(sender(1, 1), Vec::new(), map_of(&[(2, address.to_string())])),
        Limits::default(),
        Handle::current(),
    );
    let (done, accepted) = oneshot::channel();
    let wanted = SendSnapshot { to: NodeId(2), snapshot_id: 1, message: message() };
    streams.send_snapshot(wanted, exported.clone(), Box::new(|accepted| done.send(accepted).unwrap()));
    assert!(tokio::time::timeout(SOON, accepted).await.unwrap().unwrap());
    let Some(Input::Messages(messages)) = given.next(std::time::Instant::now()) else {
        panic!("accepted before the store had the message");
    };
    let [RaftMessage { body: Some(Body::Raft(raft)), .. }] = &*messages else { panic!("{messages:?}") };
    assert_eq!(raft.snapshot.as_ref().unwrap().snapshot_id, 77);
    let received = node.inbox.0.lock().take().unwrap();
    assert_eq!(received.manifest(), exported.manifest());
    drop(node.disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_for_a_node_without_address_is_answered_with_no() {
    let (exported, _disk, _directory) = exported();
    let streams = Streams::new(peers(sender(1, 1), Vec::new(), map_of(&[])), Limits::default(), Handle::current());
    let (done, accepted) = oneshot::channel();
    let wanted = SendSnapshot { to: NodeId(2), snapshot_id: 1, message: message() };
    streams.send_snapshot(wanted, exported, Box::new(|accepted| done.send(accepted).unwrap()));
    assert!(!tokio::time::timeout(SOON, accepted).await.unwrap().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_found_and_nothing_is_left() {
    let (exported, _disk, _directory) = exported();
    let (node, given) = receiving_node();
    let mut frames = frames(&exported);
    let Some(Frame::Chunk(chunk)) = &mut frames[2].frame else { panic!("no chunk") };
    let mut data = chunk.data.to_vec();
    data[100] ^= 1;
    chunk.data = Bytes::from(data);
    let reply = receive(&node, frames.into_iter().map(Ok).collect()).await.unwrap();
    assert!(!reply.accepted && reply.message.contains("checksum"), "{reply:?}");
    assert_nothing_left(&node, &given);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_cut_half_way_leaves_nothing() {
    let (exported, _disk, _directory) = exported();
    let (node, given) = receiving_node();
    let half = || frames(&exported).into_iter().take(2).map(Ok);
    let reply = receive(&node, half().collect()).await.unwrap();
    assert!(!reply.accepted && reply.message.contains("before `done`"), "{reply:?}");
    assert_nothing_left(&node, &given);
    let broken = half().chain([Err(Status::unknown("connection reset"))]).collect();
    assert_eq!(receive(&node, broken).await.unwrap_err().code(), Code::Unknown);
    assert_nothing_left(&node, &given);
    let early = half().chain([Ok(frame(Frame::Done(SnapshotDone {})))]).collect();
    assert!(!receive(&node, early).await.unwrap().accepted);
    assert_nothing_left(&node, &given);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_cluster_or_another_position_than_its_message_is_refused() {
    let (exported, _disk, _directory) = exported();
    let (node, given) = receiving_node();
    let other = SnapshotManifest { cluster_id: "cluster-b".into(), ..exported.manifest().clone() };
    let reply = receive(&node, vec![Ok(open(other))]).await.unwrap();
    assert!(!reply.accepted && reply.message.contains("cluster-b"), "{reply:?}");
    let later = SnapshotManifest { applied_index: 10, ..exported.manifest().clone() };
    let refusal = receive(&node, vec![Ok(open(later))]).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert_nothing_left(&node, &given);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_snapshots_at_once_than_allowed_are_refused_for_now() {
    let (exported, _disk, _directory) = exported();
    let (node, _given) = receiving_node();
    let all = Limits::default().snapshot_receives as u32;
    let taken = node.inbound.receives.clone().try_acquire_many_owned(all).unwrap();
    let try_again = receive(&node, frames(&exported).into_iter().map(Ok).collect()).await.unwrap_err();
    assert_eq!(try_again.code(), Code::ResourceExhausted);
    drop(taken);
    assert!(receive(&node, frames(&exported).into_iter().map(Ok).collect()).await.unwrap().accepted);
}
