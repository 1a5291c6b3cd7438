use bytes::Bytes;
use granary_common::{
    SlotRange,
    log::{Entry, EntryKind, HardState, Position},
};
use granary_engine::{Disk, EngineOptions, IDENTITY_FORMAT};
use granary_machine::{Overlay, shard};
use granary_proto::{map::Group, storage::Identity};

use super::*;

const SHARD: ShardId = ShardId(3);
const REPLICA: ReplicaId = ReplicaId(7);
const LOG: LogId = LogId { shard: SHARD, replica: REPLICA };
const TAIL: TailLimits = TailLimits { entries: 100, bytes: 1 << 20 };

fn disk(directory: &std::path::Path) -> Disk {
    let mut disk = Disk::open(directory, EngineOptions::default()).unwrap();
    let uuid = disk.uuid().to_owned();
    let identity = Identity { format: IDENTITY_FORMAT, cluster_id: "cluster".into(), node_id: 1, uuid };
    disk.become_member(identity).unwrap();
    disk
}

fn write_state(stores: &Stores, index: u64, term: u64) {
    let new = shard::new(SHARD, SlotRange { start: 0, end: 10 }, Group { version: 1, ..Group::default() });
    let state = ShardState { applied_index: index, applied_term: term, ..new };
    let view = stores.data.view();
    let mut overlay = Overlay::new(&view);
    shard::save(&mut overlay, &state);
    stores.data.write_synced(&overlay.into_writes()).unwrap();
}

/// A log from behind 5 up to `last`, all of `term`, with a vote in that term.
fn write_log(stores: &Stores, last: u64, term: u64) {
    let entry = |index| Entry { index, term, kind: EntryKind::Normal, data: Bytes::new(), context: Bytes::new() };
    let mut batch = LogBatch::new();
    batch.put_record(ReplicaRecord { shard_id: SHARD.0, replica_id: REPLICA.0, ..ReplicaRecord::default() });
    batch.restart_log(LOG, Position { index: 5, term: 5 }, HardState { term, vote: REPLICA.0, commit: 6 });
    batch.append(LOG, (6..=last).map(entry).collect());
    stores.raft.write(batch).unwrap();
}

fn only(found: FoundAll) -> Recovered {
    assert_eq!(found.replicas.len(), 1);
    found.replicas.into_iter().next().unwrap().recovered
}

#[test]
fn a_log_of_an_older_term_at_an_installed_position_begins_anew_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let disk = disk(directory.path());
    let stores = disk.stores().unwrap();
    // Entries 6 to 20 of term 6 were never committed; the snapshot at 15 is of term 9. The crash came before the log
    // was begun anew.
    write_log(stores, 20, 6);
    write_state(stores, 15, 9);
    for _ in 0..2 {
        let recovered = only(recover(stores, TAIL).unwrap());
        assert_eq!(recovered.truncated, Position { index: 15, term: 9 });
        assert_eq!((recovered.last_index, recovered.applied, recovered.entries.len()), (15, 15, 0));
        assert_eq!(recovered.hard_state, HardState { term: 9, vote: 0, commit: 15 }, "the vote was of another term");
        assert!(!recovered.data_lost);
    }
}

#[test]
fn a_log_that_ends_before_an_installed_position_begins_anew_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let disk = disk(directory.path());
    let stores = disk.stores().unwrap();
    write_log(stores, 10, 9);
    write_state(stores, 15, 9);
    let recovered = only(recover(stores, TAIL).unwrap());
    assert_eq!((recovered.truncated.index, recovered.last_index), (15, 15));
    assert_eq!(recovered.hard_state.vote, REPLICA.0, "a vote of the same term is kept");
}

#[test]
fn a_log_that_knows_the_applied_position_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let disk = disk(directory.path());
    let stores = disk.stores().unwrap();
    write_log(stores, 20, 6);
    write_state(stores, 15, 6);
    let recovered = only(recover(stores, TAIL).unwrap());
    assert_eq!((recovered.truncated.index, recovered.last_index, recovered.applied), (5, 20, 15));
}

#[test]
fn a_log_whose_state_is_gone_asks_for_a_snapshot_and_keeps_its_promises() {
    let directory = tempfile::tempdir().unwrap();
    let disk = disk(directory.path());
    let stores = disk.stores().unwrap();
    write_log(stores, 20, 6);
    let recovered = only(recover(stores, TAIL).unwrap());
    assert!(recovered.data_lost);
    assert_eq!((recovered.last_index, recovered.hard_state.vote), (20, REPLICA.0));
}

#[test]
fn a_first_state_without_its_record_was_never_there() {
    let directory = tempfile::tempdir().unwrap();
    let disk = disk(directory.path());
    let stores = disk.stores().unwrap();
    write_state(stores, 5, 5);
    assert!(recover(stores, TAIL).unwrap().replicas.is_empty());
    assert_eq!(stores.data.shard_state(SHARD).unwrap(), None);
}

#[test]
fn a_destruction_that_was_cut_off_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    let disk = disk(directory.path());
    let stores = disk.stores().unwrap();
    write_log(stores, 20, 6);
    write_state(stores, 15, 6);
    let record = ReplicaRecord { shard_id: SHARD.0, replica_id: REPLICA.0, ..ReplicaRecord::default() };
    let mut batch = LogBatch::new();
    batch.put_record(ReplicaRecord { destroying: true, ..record });
    stores.raft.write(batch).unwrap();
    let found = recover(stores, TAIL).unwrap();
    assert!(found.replicas.is_empty());
    assert_eq!(found.records.get(&SHARD), Some(&tombstone(&record)));
    assert_eq!(stores.data.shard_state(SHARD).unwrap(), None);
}
