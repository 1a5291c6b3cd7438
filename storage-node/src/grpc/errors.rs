//! Refusals of the data API: what each failure becomes on the wire, in one place, and back.

#[cfg(test)]
mod fuzz_tests;

use std::collections::BTreeSet;

use bytes::Bytes;
use granary_common::{NodeId, ShardId, SlotRange};
use granary_machine::kv::{ReadError, kv_error};
use granary_proto::{
    kv::{Error, Hint, Reason},
    map::{self, ClusterMap},
};
use prost::Message as _;
use tonic::{Code, Status};

use crate::{drivers::StoreError, map as routes};

/// How long a refused client shall wait before it tries again, in ms: about what a full log writer needs to catch up.
const BUSY_RETRY_MS: u64 = 20;
/// The same while a shard has no leader: elections take some hundred ms.
const LEADERLESS_RETRY_MS: u64 = 50;

/// A field of the request is out of its range.
pub(super) fn invalid(field: &str, problem: impl std::fmt::Display) -> Error {
    Error { field: field.to_owned(), ..kv_error(Reason::Invalid, format!("{field}: {problem}")) }
}

/// The node cannot serve yet, or no longer.
pub(super) fn not_ready(message: impl Into<String>) -> Error {
    kv_error(Reason::NotReady, message)
}

/// The store's failure. `leader` is who is believed to lead the shard, if the store does not say.
pub(super) fn of_store(error: StoreError, shard: ShardId, map: &ClusterMap, leader: Option<NodeId>) -> Error {
    match error {
        StoreError::NotLeader { leader: known } => not_leader(shard, map, known.or(leader)),
        StoreError::NoReplica => not_leader(shard, map, leader.or_else(|| preferred_leader(shard, map))),
        StoreError::Busy => Error {
            retry_after_ms: BUSY_RETRY_MS,
            ..kv_error(Reason::Busy, "the node has too much work in flight; nothing was done, try again later")
        },
        StoreError::Unknown => outcome_unknown(shard),
        StoreError::Timeout => timeout(shard),
        StoreError::Stopping => not_ready("the node is stopping; nothing was done, ask another node"),
    }
}

/// The time limit passed, and nothing was done.
pub(super) fn timeout(shard: ShardId) -> Error {
    kv_error(Reason::Timeout, format!("the time limit passed before {shard} answered; nothing was done"))
}

/// The write was proposed, and no more is known.
pub(super) fn outcome_unknown(shard: ShardId) -> Error {
    let message = format!(
        "{shard} did not say in time what became of the write: it may be applied, or be applied later. Sending it again \
         with the same `retry` is safe"
    );
    kv_error(Reason::OutcomeUnknown, message)
}

fn not_leader(shard: ShardId, map: &ClusterMap, leader: Option<NodeId>) -> Error {
    let found = map.shards.iter().find(|found| found.id == shard.0);
    let address = leader
        .and_then(|id| routes::node(map, id))
        .and_then(|node| node.addresses.as_ref())
        .map(|addresses| addresses.kv.clone())
        .unwrap_or_default();
    let message = match leader {
        Some(leader) => format!("this node does not lead {shard}; {leader} is said to"),
        None => format!("this node does not lead {shard}, and it knows no leader now; try again"),
    };
    let hint = Hint {
        shard_id: shard.0,
        range: found.and_then(|shard| shard.range),
        leader_node_id: leader.map_or(0, |leader| leader.0),
        leader_kv_address: address,
        map_version: map.version,
    };
    let retry_after_ms = if leader.is_some() { 0 } else { LEADERLESS_RETRY_MS };
    Error { hint: Some(hint), retry_after_ms, ..kv_error(Reason::NotLeader, message) }
}

/// Where the leader would best be: a guess for a node that has no replica to ask.
fn preferred_leader(shard: ShardId, map: &ClusterMap) -> Option<NodeId> {
    let shard = map.shards.iter().find(|found| found.id == shard.0)?;
    shard.target.as_ref()?.replicas.first().map(|replica| NodeId(replica.node_id))
}

/// The disk is nearly full.
pub(super) fn read_only() -> Error {
    let message =
        "the disk of this node is nearly full; reads and deletes still work. Delete data or give it more space";
    kv_error(Reason::ReadOnly, message)
}

/// The disks of so many of the shard's voters are nearly full that a write would rest on one of them.
pub(super) fn quorum_read_only(shard: ShardId, full: &BTreeSet<u64>) -> Error {
    let full: Vec<_> = full.iter().map(u64::to_string).collect();
    let message = format!(
        "the disks of nodes {} are nearly full, and {shard} has no majority without them; reads and deletes still work. \
         Delete data or give them more space",
        full.join(", ")
    );
    kv_error(Reason::ReadOnly, message)
}

/// The replica here is too far behind for this stale read.
pub(super) fn too_stale(shard: ShardId, age_ms: Option<u64>, allowed_ms: u64) -> Error {
    let age = match age_ms {
        Some(age) => format!("is up to {age} ms old"),
        None => "is of unknown age".to_owned(),
    };
    let message = format!(
        "the replica of {shard} here {age}; asked was at most {allowed_ms} ms. Ask another node, or allow more"
    );
    Error { field: "consistency.stale.max_staleness_ms".to_owned(), ..kv_error(Reason::TooStale, message) }
}

/// The state machine's failure.
pub(super) fn of_read(error: ReadError, shard: ShardId, map_version: u64) -> Error {
    match error {
        ReadError::WrongRange { slot, range } => wrong_range(shard, slot, range, map_version),
        ReadError::Row(_) | ReadError::View(_) => {
            tracing::error!(%shard, error = %error, "a read found the stored rows broken");
            kv_error(Reason::Internal, format!("the rows of {shard} on this node cannot be read; its log says why"))
        }
    }
}

fn wrong_range(shard: ShardId, slot: u16, range: SlotRange, map_version: u64) -> Error {
    let range_of = map::SlotRange { start: range.start.into(), end: range.end.into() };
    let hint = Hint { shard_id: shard.0, range: Some(range_of), map_version, ..Hint::default() };
    let message = format!("slot {slot} is not of {shard}, which owns {range}; refresh the map and try again");
    Error { hint: Some(hint), ..kv_error(Reason::WrongRange, message) }
}

/// A broken invariant that must not end the node, since nothing was stored upon it.
pub(super) fn internal(message: &'static str) -> Error {
    tracing::error!(message);
    kv_error(Reason::Internal, message)
}

/// How the details of a status name our error.
const ERROR_TYPE: &str = "type.googleapis.com/granary.kv.v1.Error";

/// For unary calls: the code and message, and the whole error in the details, as gRPC's richer error model has it.
pub(super) fn to_status(error: &Error) -> Status {
    // A Code is a number from 0 to 16; the conversion takes others as Unknown.
    let code = Code::from_i32(i32::try_from(error.code).unwrap_or(2));
    let detail = prost_types::Any { type_url: ERROR_TYPE.to_owned(), value: error.encode_to_vec() };
    let details = tonic_types::pb::Status { code: code.into(), message: error.message.clone(), details: vec![detail] };
    Status::with_details(code, error.message.clone(), Bytes::from(details.encode_to_vec()))
}

/// What a node answered to a forwarded request; `None` when the error is not a node's own, but of the way there.
pub(super) fn from_status(status: &Status) -> Option<Error> {
    let details = tonic_types::pb::Status::decode(status.details()).ok()?.details;
    let error = details.into_iter().find(|detail| detail.type_url == ERROR_TYPE)?;
    Error::decode(error.value.as_slice()).ok().filter(|error| error.reason() != Reason::Unspecified)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> ClusterMap {
        let addresses = map::Addresses { kv: "n2:1".to_owned(), peer: String::new() };
        let replicas = vec![map::Replica { id: 9, node_id: 2, role: map::ReplicaRole::Voter.into() }];
        ClusterMap {
            version: 7,
            nodes: vec![map::Node { id: 2, addresses: Some(addresses), ..Default::default() }],
            shards: vec![map::Shard {
                id: 1,
                range: Some(map::SlotRange { start: 0, end: 16384 }),
                target: Some(map::Target { number: 1, replicas }),
                group: None,
            }],
            ..Default::default()
        }
    }

    fn of(error: StoreError) -> Error {
        of_store(error, ShardId(1), &map(), None)
    }

    #[test]
    fn every_failure_of_the_store_has_its_reason_and_code() {
        let table = [
            (StoreError::NotLeader { leader: None }, Reason::NotLeader, Code::Unavailable),
            (StoreError::NoReplica, Reason::NotLeader, Code::Unavailable),
            (StoreError::Busy, Reason::Busy, Code::ResourceExhausted),
            (StoreError::Unknown, Reason::OutcomeUnknown, Code::Unknown),
            (StoreError::Timeout, Reason::Timeout, Code::DeadlineExceeded),
            (StoreError::Stopping, Reason::NotReady, Code::Unavailable),
        ];
        for (failure, reason, code) in table {
            let error = of(failure.clone());
            assert_eq!(error.reason(), reason, "{failure:?}");
            assert_eq!(to_status(&error).code(), code, "{failure:?}");
            assert!(!error.message.is_empty(), "{failure:?}");
        }
        assert!(of(StoreError::Busy).retry_after_ms > 0);
    }

    #[test]
    fn who_does_not_lead_says_who_does_and_where() {
        let hint = of(StoreError::NotLeader { leader: Some(NodeId(2)) }).hint.unwrap();
        assert_eq!((hint.shard_id, hint.leader_node_id, hint.leader_kv_address.as_str()), (1, 2, "n2:1"));
        assert_eq!((hint.map_version, hint.range.unwrap().end), (7, 16384));
    }

    #[test]
    fn a_replica_without_a_leader_guesses_none() {
        let error = of(StoreError::NotLeader { leader: None });
        assert_eq!(error.hint.unwrap().leader_node_id, 0);
        assert!(error.retry_after_ms > 0);
    }

    #[test]
    fn a_node_without_a_replica_names_where_the_leader_would_best_be() {
        assert_eq!(of(StoreError::NoReplica).hint.unwrap().leader_node_id, 2);
    }

    #[test]
    fn a_status_carries_the_whole_error() {
        let error = of(StoreError::NotLeader { leader: Some(NodeId(2)) });
        assert_eq!(from_status(&to_status(&error)), Some(error));
        assert_eq!(from_status(&Status::unavailable("connection refused")), None);
    }
}
