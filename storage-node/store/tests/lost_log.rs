//! A leader asks a follower to commit what the follower has acknowledged, and the follower's log does not reach so far: its
//! disk has lost what was synced (HAZARDS H1, H15).

use granary_common::{NodeId, ReplicaId, ShardId, limits};
use granary_proto::{
    map::{Group, Replica, ReplicaRole},
    raft::{RaftBody, RaftMessage, raft_message::Body},
};
use granary_store::{Config, Event, Founding, LostLog, Recovered, Store};

const SHARD: ShardId = ShardId(1);
const OWN: ReplicaId = ReplicaId(1);
/// `eraftpb::MessageType::MsgHeartbeat`.
const HEARTBEAT: u32 = 8;

/// One of three voters, with a log that holds nothing behind its founding.
fn follower() -> Store {
    let replica = |id| Replica { id, node_id: id, role: ReplicaRole::Voter.into() };
    let group = Group { version: 1, replicas: (1..=3).map(replica).collect(), joint: false, highest_replica_id: 0 };
    let recovered = Box::new(Recovered::founder(group));
    let mut store = Store::new(Config::new(NodeId(1), 7));
    store.handle(0, Event::Start { shard: SHARD, replica: OWN, recovered, founding: Founding::Restarted });
    store.drain(0);
    store
}

fn heartbeat(term: u64, commit: u64) -> Event {
    let body = RaftBody { r#type: HEARTBEAT, term, commit, ..RaftBody::default() };
    Event::Message(RaftMessage {
        shard_id: SHARD.0,
        from_replica: 2,
        to_replica: OWN.0,
        from_node: 2,
        body: Some(Body::Raft(body)),
        ..RaftMessage::default()
    })
}

fn answer(term: u64, commit: u64) -> Option<LostLog> {
    let mut store = follower();
    store.handle(1, heartbeat(term, commit));
    store.drain(1).lost_log
}

#[test]
fn a_follower_that_is_to_commit_what_it_has_acknowledged_and_lost_says_so() {
    let last = limits::FIRST_INDEX;
    let lost = LostLog { shard: SHARD, replica: OWN, last, acknowledged: last + 3 };
    assert_eq!(answer(limits::FIRST_TERM + 1, last + 3), Some(lost));
    assert_eq!(answer(limits::FIRST_TERM + 1, last), None, "what it has");
}

#[test]
fn a_leader_of_the_past_counts_on_nothing() {
    assert_eq!(answer(limits::FIRST_TERM - 1, limits::FIRST_INDEX + 3), None);
}
