//! A member's disk in a temporary directory, for tests.

use std::path::Path;

use bytes::Bytes;
use granary_common::{ShardId, SlotRange};
use granary_machine::{Write, rows};
use granary_proto::{
    map,
    storage::{Identity, ShardState},
};
use prost::Message as _;
use tempfile::TempDir;

use crate::{DataStore, Disk, EngineOptions, IDENTITY_FORMAT, Stores};

/// A disk that can be opened again, as after a crash of the process.
pub(crate) struct TestDisk {
    disk: Option<Disk>,
    directory: TempDir,
}

impl TestDisk {
    /// A new member.
    pub(crate) fn new(node_id: u64) -> Self {
        Self::with(node_id, EngineOptions::default())
    }

    /// A new member, with stores so tuned until they are opened again.
    pub(crate) fn with(node_id: u64, options: EngineOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut disk = Disk::open(directory.path(), options).unwrap();
        let uuid = disk.uuid().to_owned();
        let identity = Identity { format: IDENTITY_FORMAT, cluster_id: "cluster".into(), node_id, uuid };
        disk.become_member(identity).unwrap();
        Self { disk: Some(disk), directory }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn stores(&self) -> &Stores {
        self.disk.as_ref().unwrap().stores().unwrap()
    }

    /// Closes the stores and gives what stays: the directory.
    pub(crate) fn close(self) -> TempDir {
        self.directory
    }

    /// Closes the stores without any farewell and opens them again.
    pub(crate) fn reopen(&mut self) {
        self.disk = None;
        self.disk = Some(Disk::open(self.directory.path(), EngineOptions::default()).unwrap());
    }
}

pub(crate) fn state(shard: ShardId, range: SlotRange, applied_index: u64) -> ShardState {
    ShardState {
        shard_id: shard.0,
        applied_index,
        applied_term: 5,
        range: Some(map::SlotRange { start: range.start.into(), end: range.end.into() }),
        ..Default::default()
    }
}

pub(crate) fn put(key: Bytes, value: impl Into<Bytes>) -> Write {
    Write::Put { key, value: value.into() }
}

pub(crate) fn put_state(state: &ShardState) -> Write {
    put(rows::shard_key(ShardId(state.shard_id)), state.encode_to_vec())
}

/// Writes `count` data rows a slot, an answer and a client, and the state, as one batch.
pub(crate) fn fill(data: &DataStore, shard: ShardId, range: SlotRange, count: u32, applied_index: u64) {
    let mut writes = vec![
        put_state(&state(shard, range, applied_index)),
        put(rows::answer_key(shard, 7, 1), format!("answer at {applied_index}")),
        put(rows::client_key(shard, 7), format!("client at {applied_index}")),
    ];
    for slot in range.start..range.end {
        for number in 0..count {
            let key = rows::data_key_in(slot, format!("key{number:04}").as_bytes());
            writes.push(put(key, format!("{applied_index} {slot} {number} {}", "value".repeat(20))));
        }
    }
    data.write(&writes).unwrap();
}
