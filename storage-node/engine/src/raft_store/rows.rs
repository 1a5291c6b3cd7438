//! The rows of `raft/`: keys and values. A key begins with a byte for its kind; numbers in keys are big endian, so that
//! byte order is order. Each value ends with a CRC32C over key and value: a row under a wrong key is found, too.

#[cfg(test)]
mod fuzz_tests;

use bytes::Bytes;
use granary_common::{
    NodeId, ReplicaId, ShardId,
    log::{Entry, EntryKind, HardState, Position},
};
use granary_proto::storage::LogState as StoredLogState;
use prost::Message as _;

use crate::{EngineError, StoreKind};

pub(crate) const HEADER: u8 = 0x01;
pub(crate) const ENTRY: u8 = 0x02;
pub(crate) const LOG_STATE: u8 = 0x03;
pub(crate) const RECORD: u8 = 0x04;
pub(crate) const MAP: u8 = 0x05;
pub(crate) const INCARNATION: u8 = 0x06;
/// One behind the last kind that this build knows.
pub(crate) const UNKNOWN: u8 = 0x07;

const CHECKSUM: usize = 4;

/// A log's hard state and where it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// The last entry that is no longer there; 0 and 0 for a log that has all.
    pub truncated: Position,
}

/// Which log: a replica of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// Shard.
    pub shard: ShardId,
    /// Its replica on this node.
    pub replica: ReplicaId,
}

impl std::fmt::Display for LogId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.shard, self.replica)
    }
}

pub(crate) fn entry_key(log: LogId, index: u64) -> [u8; 21] {
    let mut key = [ENTRY; 21];
    key[1..5].copy_from_slice(&log.shard.0.to_be_bytes());
    key[5..13].copy_from_slice(&log.replica.0.to_be_bytes());
    key[13..].copy_from_slice(&index.to_be_bytes());
    key
}

pub(crate) fn log_state_key(log: LogId) -> [u8; 13] {
    let mut key = [LOG_STATE; 13];
    key[1..5].copy_from_slice(&log.shard.0.to_be_bytes());
    key[5..].copy_from_slice(&log.replica.0.to_be_bytes());
    key
}

pub(crate) fn record_key(shard: ShardId) -> [u8; 5] {
    let mut key = [RECORD; 5];
    key[1..].copy_from_slice(&shard.0.to_be_bytes());
    key
}

pub(crate) fn incarnation_key(node: NodeId) -> [u8; 9] {
    let mut key = [INCARNATION; 9];
    key[1..].copy_from_slice(&node.0.to_be_bytes());
    key
}

/// Key of the number of this node's own last start. A node cannot have the id 0, so no peer has this key.
pub(crate) const OWN_START: NodeId = NodeId(0);

/// The log and index of an entry's key.
pub(crate) fn parse_entry_key(key: &[u8]) -> Result<(LogId, u64), EngineError> {
    let (log, rest) = parse_log(key)?;
    let index = rest.try_into().map_err(|_| malformed(key))?;
    Ok((log, u64::from_be_bytes(index)))
}

/// The log of a log state's key.
pub(crate) fn parse_log_state_key(key: &[u8]) -> Result<LogId, EngineError> {
    match parse_log(key)? {
        (log, []) => Ok(log),
        _ => Err(malformed(key)),
    }
}

fn parse_log(key: &[u8]) -> Result<(LogId, &[u8]), EngineError> {
    let parts = key.get(1..).and_then(|ids| {
        let (shard, rest) = ids.split_first_chunk::<4>()?;
        let (replica, rest) = rest.split_first_chunk::<8>()?;
        Some((shard, replica, rest))
    });
    let (shard, replica, rest) = parts.ok_or_else(|| malformed(key))?;
    let log = LogId { shard: ShardId(u32::from_be_bytes(*shard)), replica: ReplicaId(u64::from_be_bytes(*replica)) };
    Ok((log, rest))
}

pub(crate) fn parse_record_key(key: &[u8]) -> Result<ShardId, EngineError> {
    let shard = key.get(1..).and_then(|id| id.try_into().ok()).ok_or_else(|| malformed(key))?;
    Ok(ShardId(u32::from_be_bytes(shard)))
}

pub(crate) fn parse_incarnation_key(key: &[u8]) -> Result<NodeId, EngineError> {
    let node = key.get(1..).and_then(|id| id.try_into().ok()).ok_or_else(|| malformed(key))?;
    Ok(NodeId(u64::from_be_bytes(node)))
}

/// Appends the checksum over `key` and `value` to `value`.
pub(crate) fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c_append(crc32c::crc32c(key), &value);
    value.extend_from_slice(&checksum.to_le_bytes());
    value
}

/// The value without its checksum.
pub(crate) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], EngineError> {
    match value.split_last_chunk::<CHECKSUM>() {
        Some((value, checksum)) if crc32c::crc32c_append(crc32c::crc32c(key), value).to_le_bytes() == *checksum => {
            Ok(value)
        }
        _ => Err(corrupt(key, "does not match its checksum")),
    }
}

/// An entry's value: kind (u8), term (u64), length of the data (u32), data, context, checksum; the index is in the key.
pub(crate) fn encode_entry(key: &[u8], entry: &Entry) -> Vec<u8> {
    let mut value = Vec::with_capacity(13 + entry.data.len() + entry.context.len() + CHECKSUM);
    value.push(match entry.kind {
        EntryKind::Normal => 0,
        EntryKind::ConfChange => 1,
    });
    value.extend_from_slice(&entry.term.to_le_bytes());
    // An entry holds at most a batch: far below 4 GiB.
    value.extend_from_slice(&(entry.data.len() as u32).to_le_bytes());
    value.extend_from_slice(&entry.data);
    value.extend_from_slice(&entry.context);
    seal(key, value)
}

/// Reads what [`encode_entry`] wrote.
pub(crate) fn decode_entry(key: &[u8], index: u64, value: &[u8]) -> Result<Entry, EngineError> {
    let value = unseal(key, value)?;
    let parts = value.split_first_chunk::<13>().and_then(|(head, body)| {
        let [kind, term @ .., a, b, c, d] = *head;
        let (data, context) = body.split_at_checked(u32::from_le_bytes([a, b, c, d]) as usize)?;
        Some((kind, u64::from_le_bytes(term), data, context))
    });
    let (kind, term, data, context) = parts.ok_or_else(|| corrupt(key, "is too short"))?;
    let kind = match kind {
        0 => EntryKind::Normal,
        1 => EntryKind::ConfChange,
        other => {
            let what = format!("{} of kind {other}", name(key));
            return Err(EngineError::Unknown { store: StoreKind::Raft, what });
        }
    };
    Ok(Entry { index, term, kind, data: Bytes::copy_from_slice(data), context: Bytes::copy_from_slice(context) })
}

pub(crate) fn encode_log_state(key: &[u8], state: &LogState) -> Vec<u8> {
    let stored = StoredLogState {
        term: state.hard_state.term,
        vote: state.hard_state.vote,
        commit: state.hard_state.commit,
        truncated_index: state.truncated.index,
        truncated_term: state.truncated.term,
    };
    seal(key, stored.encode_to_vec())
}

pub(crate) fn decode_log_state(key: &[u8], value: &[u8]) -> Result<LogState, EngineError> {
    let stored: StoredLogState = decode_message(key, value)?;
    Ok(LogState {
        hard_state: HardState { term: stored.term, vote: stored.vote, commit: stored.commit },
        truncated: Position { index: stored.truncated_index, term: stored.truncated_term },
    })
}

/// A sealed message of the stored formats.
pub(crate) fn decode_message<M: prost::Message + Default>(key: &[u8], value: &[u8]) -> Result<M, EngineError> {
    M::decode(unseal(key, value)?).map_err(|error| corrupt(key, &format!("cannot be decoded: {error}")))
}

pub(crate) fn decode_u64(key: &[u8], value: &[u8]) -> Result<u64, EngineError> {
    let number = unseal(key, value)?.try_into().map_err(|_| corrupt(key, "is not 8 bytes long"))?;
    Ok(u64::from_le_bytes(number))
}

fn malformed(key: &[u8]) -> EngineError {
    EngineError::corrupt(StoreKind::Raft, format!("the key {key:02x?} is malformed"))
}

fn corrupt(key: &[u8], what: &str) -> EngineError {
    EngineError::corrupt(StoreKind::Raft, format!("{} {what}", name(key)))
}

/// A row in words for an error.
fn name(key: &[u8]) -> String {
    match key.first() {
        Some(&ENTRY) => match parse_entry_key(key) {
            Ok((log, index)) => format!("entry {index} of {log}"),
            Err(_) => format!("the entry at {key:02x?}"),
        },
        Some(&LOG_STATE) => match parse_log_state_key(key) {
            Ok(log) => format!("the log state of {log}"),
            Err(_) => format!("the log state at {key:02x?}"),
        },
        Some(&RECORD) => "a replica's record".into(),
        Some(&MAP) => "the cluster map".into(),
        Some(&INCARNATION) => "a peer's incarnation".into(),
        _ => format!("the row {key:02x?}"),
    }
}
