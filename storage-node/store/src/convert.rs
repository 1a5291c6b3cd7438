//! Between `raft`'s own types and ours. The wire is ours: bytes from outside are never parsed by rust-protobuf.

#[cfg(test)]
mod fuzz_tests;

use granary_common::log::{Entry, EntryKind, HardState};
use granary_proto::raft as wire;
use protobuf::ProtobufEnum as _;
use raft::eraftpb;

pub(crate) fn conf_state_to_raft(conf: &wire::ConfState) -> eraftpb::ConfState {
    let mut to = eraftpb::ConfState::default();
    to.set_voters(conf.voters.clone());
    to.set_learners(conf.learners.clone());
    to.set_voters_outgoing(conf.voters_outgoing.clone());
    to.set_learners_next(conf.learners_next.clone());
    to.set_auto_leave(conf.auto_leave);
    to
}

/// Sorted, so that equal memberships are equal on every replica.
pub(crate) fn conf_state_from_raft(conf: &eraftpb::ConfState) -> wire::ConfState {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    wire::ConfState {
        voters: sorted(conf.get_voters()),
        learners: sorted(conf.get_learners()),
        voters_outgoing: sorted(conf.get_voters_outgoing()),
        learners_next: sorted(conf.get_learners_next()),
        auto_leave: conf.get_auto_leave(),
    }
}

pub(crate) fn hard_state_from_raft(state: &eraftpb::HardState) -> HardState {
    HardState { term: state.term, vote: state.vote, commit: state.commit }
}

pub(crate) fn hard_state_to_raft(state: &HardState) -> eraftpb::HardState {
    let mut to = eraftpb::HardState::default();
    to.set_term(state.term);
    to.set_vote(state.vote);
    to.set_commit(state.commit);
    to
}

pub(crate) fn entry_from_raft(entry: &eraftpb::Entry) -> Entry {
    Entry {
        index: entry.index,
        term: entry.term,
        kind: match entry.get_entry_type() {
            eraftpb::EntryType::EntryNormal => EntryKind::Normal,
            eraftpb::EntryType::EntryConfChange | eraftpb::EntryType::EntryConfChangeV2 => EntryKind::ConfChange,
        },
        data: entry.data.clone(),
        context: entry.context.clone(),
    }
}

pub(crate) fn entry_to_raft(entry: Entry) -> eraftpb::Entry {
    let mut to = eraftpb::Entry::default();
    to.set_entry_type(match entry.kind {
        EntryKind::Normal => eraftpb::EntryType::EntryNormal,
        EntryKind::ConfChange => eraftpb::EntryType::EntryConfChangeV2,
    });
    to.index = entry.index;
    to.term = entry.term;
    to.data = entry.data;
    to.context = entry.context;
    to
}

/// Encodes a message. The snapshot's data is the id that names its files, as eight bytes.
pub(crate) fn body_from_raft(mut message: eraftpb::Message) -> wire::RaftBody {
    let snapshot = message.has_snapshot().then(|| {
        let snapshot = message.get_snapshot();
        let meta = snapshot.get_metadata();
        wire::SnapshotMeta {
            index: meta.index,
            term: meta.term,
            conf_state: Some(conf_state_from_raft(meta.get_conf_state())),
            snapshot_id: snapshot_id(snapshot),
        }
    });
    let entries = message
        .take_entries()
        .into_iter()
        .map(|entry| wire::Entry {
            r#type: entry.get_entry_type().value() as u32,
            term: entry.term,
            index: entry.index,
            data: entry.data,
            context: entry.context,
        })
        .collect();
    wire::RaftBody {
        r#type: message.get_msg_type().value() as u32,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries,
        commit: message.commit,
        commit_term: message.commit_term,
        snapshot,
        request_snapshot: message.request_snapshot,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context,
        priority: message.priority,
    }
}

/// Decodes a message; `None` when a type in it is unknown or it is one that only a node tells itself.
pub(crate) fn body_to_raft(body: wire::RaftBody, from: u64, to: u64) -> Option<eraftpb::Message> {
    let kind =
        eraftpb::MessageType::from_i32(i32::try_from(body.r#type).ok()?).filter(|kind| is_between_nodes(*kind))?;
    let mut message = eraftpb::Message::default();
    message.set_msg_type(kind);
    message.from = from;
    message.to = to;
    message.term = body.term;
    message.log_term = body.log_term;
    message.index = body.index;
    let mut entries = Vec::with_capacity(body.entries.len());
    for entry in body.entries {
        let mut to = eraftpb::Entry::default();
        to.set_entry_type(eraftpb::EntryType::from_i32(i32::try_from(entry.r#type).ok()?)?);
        to.term = entry.term;
        to.index = entry.index;
        to.data = entry.data;
        to.context = entry.context;
        entries.push(to);
    }
    message.set_entries(entries.into());
    message.commit = body.commit;
    message.commit_term = body.commit_term;
    if let Some(meta) = body.snapshot {
        let mut snapshot = eraftpb::Snapshot::default();
        snapshot.data = meta.snapshot_id.to_be_bytes().to_vec().into();
        let to = snapshot.mut_metadata();
        to.index = meta.index;
        to.term = meta.term;
        to.set_conf_state(conf_state_to_raft(&meta.conf_state?));
        message.set_snapshot(snapshot);
    }
    message.request_snapshot = body.request_snapshot;
    message.reject = body.reject;
    message.reject_hint = body.reject_hint;
    message.context = body.context;
    message.priority = body.priority;
    Some(message)
}

/// Proposals, questions and transfers are asked of the store, never of another node's Raft.
fn is_between_nodes(kind: eraftpb::MessageType) -> bool {
    use eraftpb::MessageType as Kind;
    matches!(
        kind,
        Kind::MsgAppend
            | Kind::MsgAppendResponse
            | Kind::MsgRequestVote
            | Kind::MsgRequestVoteResponse
            | Kind::MsgRequestPreVote
            | Kind::MsgRequestPreVoteResponse
            | Kind::MsgHeartbeat
            | Kind::MsgHeartbeatResponse
            | Kind::MsgSnapshot
            | Kind::MsgTimeoutNow
    )
}

/// The id in a snapshot's data; 0 when there is none.
pub(crate) fn snapshot_id(snapshot: &eraftpb::Snapshot) -> u64 {
    <[u8; 8]>::try_from(&snapshot.data[..]).map_or(0, u64::from_be_bytes)
}
