use crossbeam_channel::{Receiver, unbounded};
use futures::FutureExt as _;

use super::*;

const SHARD: ShardId = ShardId(1);
const LONG: Duration = Duration::from_secs(60);

struct Queues {
    waiters: Arc<Waiters>,
    control: Receiver<StoreInput>,
    intake: Receiver<StoreInput>,
}

fn handle(limits: Limits) -> (StoreHandle, Queues) {
    let (control, intake) = (unbounded(), unbounded());
    let waiters = Arc::new(Waiters::default());
    let handle = StoreHandle::new((control.0, intake.0), waiters.clone(), Arc::new(Board::new()), limits);
    (handle, Queues { waiters, control: control.1, intake: intake.1 })
}

fn message(kind: u32) -> wire::RaftMessage {
    let body = wire::RaftBody { r#type: kind, ..wire::RaftBody::default() };
    wire::RaftMessage { body: Some(wire::raft_message::Body::Raft(body)), ..wire::RaftMessage::default() }
}

#[tokio::test]
async fn a_write_that_reached_a_store_which_then_ended_is_of_unknown_outcome() {
    let (handle, queues) = handle(Limits::default());
    let mut write = Box::pin(handle.propose(SHARD, Bytes::from_static(b"x"), LONG));
    assert!(write.as_mut().now_or_never().is_none());
    queues.waiters.stop();
    assert_eq!(write.await, Err(StoreError::Unknown));
}

#[tokio::test]
async fn a_write_behind_the_end_of_the_store_was_not_done_though_its_queue_is_still_there() {
    let (handle, queues) = handle(Limits::default());
    queues.waiters.stop();
    assert_eq!(handle.propose(SHARD, Bytes::from_static(b"x"), LONG).await, Err(StoreError::Stopping));
    assert!(queues.intake.is_empty());
    assert_eq!(handle.free_requests(), Limits::default().requests);
}

#[tokio::test]
async fn heartbeats_pass_while_other_messages_wait_for_room() {
    let (handle, queues) = handle(Limits { peer_bytes: 100, ..Limits::default() });
    handle.deliver(vec![message(3)], 100).await.unwrap();
    let mut append = Box::pin(handle.deliver(vec![message(3)], 100));
    assert!(append.as_mut().now_or_never().is_none(), "no room");
    assert!(handle.deliver(vec![message(8), message(9)], 100).now_or_never().is_some());
    assert_eq!((queues.control.len(), queues.intake.len()), (1, 1));
    drop(queues.intake.recv().unwrap());
    append.await.unwrap();
}
