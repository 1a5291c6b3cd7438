//! Every message of every contract is fuzzed: whatever the bytes, decoding them ends in a message or in an error, and
//! takes no more memory than what a hostile sender paid for in bytes. What was decoded is the same when it is sent on.

use granary_fuzz::{cases, damage, memory, wire};
use granary_proto::{admin, kv, map, raft, storage};
use proptest::prelude::*;
use prost::Message;

#[global_allocator]
static MEMORY: memory::Counted = memory::Counted;

/// Bytes that may be held for each byte that came: an empty message in a list is two bytes on the wire.
const TIMES: usize = 1024;

/// What a decoder makes of the bytes; checked as the module says.
fn check<M: Message + Default + PartialEq>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(message) = memory::bounded(bytes.len(), TIMES, || M::decode(bytes)) {
        let sent_on = message.encode_to_vec();
        prop_assert_eq!(sent_on.len(), message.encoded_len());
        prop_assert!(M::decode(&*sent_on).is_ok_and(|again| again == message));
    }
    Ok(())
}

macro_rules! messages {
    ($($package:ident => { $($message:ident)* })*) => {
        /// All of them, each given the same bytes.
        fn check_all(bytes: &[u8]) -> Result<(), TestCaseError> {
            $($(check::<$package::$message>(bytes)?;)*)*
            Ok(())
        }

        /// How many are checked.
        const CHECKED: usize = [$($(stringify!($message)),*),*].len();
    };
}

messages! {
    kv => {
        Consistency Linearizable Stale Retry Routing GetRequest GetResponse PutRequest PutResponse DeleteRequest
        DeleteResponse Guard CompareAndSetRequest CompareAndSetResponse Current Write BatchRequest BatchResponse
        ShardOutcome TxnRequest TxnResponse DeleteRangeRequest DeleteRangeResponse ScanRequest ScanCursor
        ScanResponse Row GetClusterMapRequest GetClusterMapResponse LeaderHint PipeRequest PipeResponse Welcome
        Error Hint
    }
    admin => {
        IdentifyRequest IdentifyResponse BootstrapRequest Founder BootstrapResponse JoinRequest JoinResponse
        GetClusterStateRequest GetClusterStateResponse NodeLiveness ShardLiveness StopHold AcquireOperatorRequest
        AcquireOperatorResponse CreateShardsRequest Placement CreateShardsResponse CanStopRequest CanStopResponse
        ReserveStopRequest ReleaseStopRequest ReleaseStopResponse CanRemoveRequest CanRemoveResponse DrainRequest
        DrainResponse CancelDrainRequest CancelDrainResponse GetDrainProgressRequest GetDrainProgressResponse
        ReconfigureRequest Reconfiguration ReconfigureResponse ReconfigureOutcome TransferLeadersRequest Transfer
        TransferLeadersResponse RemoveNodeRequest RemoveNodeResponse ReplicaHashRequest ReplicaHashResponse
        VerifyShardRequest VerifyShardResponse ComparedReplica MarkedHashRequest MarkedHashResponse
        RebuildReplicaRequest RebuildReplicaResponse
    }
    map => {
        ClusterMap Node Addresses Domains SlotRange Shard Target Group Replica
    }
    raft => {
        Sender HelloRequest KnownAddress HelloResponse MessagesFrame Open MessagesClosed RaftMessage RaftBody
        Entry ConfState SnapshotMeta GroupNotice Wake SnapshotFrame SnapshotOpen SnapshotManifest SnapshotFile
        SnapshotChunk SnapshotDone SnapshotReply ReportRequest LedShard ReplicaProgress HeldReplica
        ReportResponse SpentReplica MapLeader PushMapRequest PushMapResponse JoinClusterRequest JoinClusterResponse
    }
    storage => {
        Command WriteList TxnBody DeleteRangeBody Answer Written GuardFailed TooOld ShardState ClientRow
        KeptAnswer        MetaCommand LeadersAway Reports GroupReport AddressReport MetaAnswer Refused MetaState OperatorHold
        StopReservation Identity ReplicaRecord LogState MembershipEntry MembershipStep
    }
}

#[test]
fn no_message_is_left_out() {
    let sources = [
        include_str!("../proto/kv.proto"),
        include_str!("../proto/admin.proto"),
        include_str!("../proto/map.proto"),
        include_str!("../proto/raft.proto"),
        include_str!("../proto/storage.proto"),
    ];
    let there = sources.iter().flat_map(|source| source.lines()).filter(|line| line.starts_with("message ")).count();
    assert_eq!(CHECKED, there, "a message of proto/*.proto is not fuzzed, or is not there any more");
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn bytes_formed_like_a_message_decode_or_are_refused(bytes in wire::message()) {
        check_all(&bytes)?;
    }

    #[test]
    fn damaged_messages_decode_or_are_refused(bytes in wire::message(), damages in damage::damages()) {
        check_all(&damage::apply(&damages, &bytes))?;
    }

    #[test]
    fn a_length_that_is_not_there_takes_no_memory(
        field in 1..20_u64,
        length in wire::number(),
        rest in any::<[u8; 9]>(),
    ) {
        let mut bytes = wire::varint(field << 3 | 2);
        bytes.extend(wire::varint(length));
        bytes.extend(rest);
        check_all(&bytes)?;
    }
}
