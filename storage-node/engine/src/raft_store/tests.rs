use std::collections::BTreeMap;

use bytes::Bytes;
use granary_common::{
    NodeId, ReplicaId, ShardId,
    log::{Entry, EntryKind, HardState, Position},
};
use granary_proto::storage::ReplicaRecord;
use proptest::{prelude::*, test_runner::Config};

use super::{LogBatch, LogId, MAX_PURGED, RecoveredLog, TailLimits, rows};
use crate::{EngineError, EngineOptions, RaftStore, StoreKind, testing::TestDisk};

const LOG: LogId = LogId { shard: ShardId(3), replica: ReplicaId(9) };
const EVERYTHING: TailLimits = TailLimits { entries: usize::MAX, bytes: usize::MAX };

fn entry(index: u64, term: u64) -> Entry {
    let kind = if index.is_multiple_of(5) { EntryKind::ConfChange } else { EntryKind::Normal };
    let context = if kind == EntryKind::ConfChange { Bytes::from_static(b"group") } else { Bytes::new() };
    Entry { index, term, kind, data: format!("entry {index} of term {term}").into(), context }
}

fn entries(indexes: std::ops::RangeInclusive<u64>, term: u64) -> Vec<Entry> {
    indexes.map(|index| entry(index, term)).collect()
}

fn write(store: &RaftStore, fill: impl FnOnce(&mut LogBatch)) -> Result<(), EngineError> {
    let mut batch = LogBatch::new();
    fill(&mut batch);
    store.write(batch)
}

fn disk_with_entries(indexes: std::ops::RangeInclusive<u64>) -> TestDisk {
    let disk = TestDisk::new(1);
    write(&disk.stores().raft, |batch| batch.append(LOG, entries(indexes, 6))).unwrap();
    disk
}

/// The raw rows of [`LOG`]'s entries on disk.
fn stored_entries(store: &RaftStore) -> Vec<u64> {
    let rows = store.db.prefix_iterator([rows::ENTRY]).map(|row| row.unwrap().0);
    rows.take_while(|key| key[0] == rows::ENTRY).map(|key| rows::parse_entry_key(&key).unwrap().1).collect()
}

#[test]
fn one_write_of_many_shards_costs_one_sync_and_a_commit_index_alone_none() {
    let disk = TestDisk::new(1);
    let store = &disk.stores().raft;
    let log = |shard| LogId { shard: ShardId(shard), replica: ReplicaId(1) };
    let before = store.syncs();
    write(store, |batch| {
        for shard in 0..64 {
            batch.append(log(shard), entries(1..=3, 1));
            batch.set_hard_state(log(shard), HardState { term: 1, vote: 1, commit: 0 });
        }
    })
    .unwrap();
    assert_eq!(store.syncs(), before + 1);
    write(store, |batch| batch.set_hard_state(log(5), HardState { term: 1, vote: 1, commit: 3 })).unwrap();
    write(store, |batch| batch.truncate(log(5), Position { index: 2, term: 1 })).unwrap();
    assert_eq!(store.syncs(), before + 1);
    write(store, |batch| batch.set_hard_state(log(5), HardState { term: 2, vote: 0, commit: 3 })).unwrap();
    assert_eq!(store.syncs(), before + 2);
    assert!(store.bytes_written() > 0);
}

#[test]
fn a_conflicting_append_leaves_no_old_entry_above_it() {
    let mut disk = disk_with_entries(1..=10);
    write(&disk.stores().raft, |batch| batch.append(LOG, entries(4..=5, 7))).unwrap();
    disk.reopen();
    let log = disk.stores().raft.recover_log(LOG, 0, EVERYTHING).unwrap();
    assert_eq!(log.entries, [entries(1..=3, 6), entries(4..=5, 7)].concat());
    assert_eq!(log.terms, [Position { index: 1, term: 6 }, Position { index: 4, term: 7 }]);
    assert_eq!(stored_entries(&disk.stores().raft), [1, 2, 3, 4, 5]);
}

#[test]
fn an_append_that_would_leave_a_hole_is_refused_and_nothing_is_written() {
    let disk = disk_with_entries(1..=3);
    let store = &disk.stores().raft;
    let gap = write(store, |batch| batch.append(LOG, entries(5..=6, 6)));
    assert!(matches!(gap, Err(EngineError::Refused { .. })), "{gap:?}");
    let inside = write(store, |batch| batch.append(LOG, vec![entry(4, 6), entry(6, 6)]));
    assert!(matches!(inside, Err(EngineError::Refused { .. })), "{inside:?}");
    write(store, |batch| batch.append(LOG, entries(4..=4, 6))).unwrap();
    assert_eq!(store.recover_log(LOG, 0, EVERYTHING).unwrap().entries, entries(1..=4, 6));
}

#[test]
fn a_purge_deletes_a_bounded_number_of_rows_and_the_next_goes_on_even_after_a_restart() {
    let mut disk = disk_with_entries(1..=MAX_PURGED + 100);
    let to = Position { index: MAX_PURGED + 50, term: 6 };
    write(&disk.stores().raft, |batch| batch.truncate(LOG, to)).unwrap();
    assert_eq!(stored_entries(&disk.stores().raft).first(), Some(&(MAX_PURGED + 1)));
    disk.reopen();
    let log = disk.stores().raft.recover_log(LOG, to.index, EVERYTHING).unwrap();
    assert_eq!((log.truncated, log.entries.len()), (to, 50));
    write(&disk.stores().raft, |batch| batch.truncate(LOG, to)).unwrap();
    assert_eq!(stored_entries(&disk.stores().raft).first(), Some(&(MAX_PURGED + 51)));
}

#[test]
fn the_tail_below_the_applied_index_is_bounded_by_entries_and_by_bytes() {
    let disk = disk_with_entries(1..=20);
    let recover = |entries, bytes| {
        let log = disk.stores().raft.recover_log(LOG, 15, TailLimits { entries, bytes }).unwrap();
        (log.entries.first().map(|entry| entry.index), log.last.index)
    };
    assert_eq!(recover(4, usize::MAX), (Some(12), 20));
    assert_eq!(recover(usize::MAX, entry(15, 6).weight()), (Some(15), 20));
    assert_eq!(recover(0, 0), (Some(16), 20));
}

#[test]
fn fetch_gives_at_least_one_entry_and_then_what_fits() {
    let disk = disk_with_entries(1..=9);
    let store = &disk.stores().raft;
    assert_eq!(store.fetch(LOG, 3, 8, 0).unwrap(), entries(3..=3, 6));
    let two = entry(3, 6).weight() + entry(4, 6).weight();
    assert_eq!(store.fetch(LOG, 3, 8, two).unwrap(), entries(3..=4, 6));
    assert_eq!(store.fetch(LOG, 3, 8, usize::MAX).unwrap(), entries(3..=7, 6));
    write(store, |batch| batch.truncate(LOG, Position { index: 4, term: 6 })).unwrap();
    let purged = store.fetch(LOG, 4, 8, 0);
    assert!(matches!(purged, Err(EngineError::Purged { truncated: 4, .. })), "{purged:?}");
    assert_eq!(store.fetch(LOG, 5, 6, 0).unwrap(), entries(5..=5, 6));
}

#[test]
fn a_missing_entry_is_named_with_its_shard_and_index() {
    let disk = disk_with_entries(1..=9);
    let store = &disk.stores().raft;
    store.db.delete(rows::entry_key(LOG, 5)).unwrap();
    for error in [store.recover_log(LOG, 0, EVERYTHING).unwrap_err(), store.fetch(LOG, 3, 8, 999).unwrap_err()] {
        assert_eq!(error.to_string(), "raft/: the log of shard 3 replica 9 has no entry 5");
    }
}

#[test]
fn a_flipped_bit_in_any_row_is_found_and_the_row_is_named() {
    let disk = disk_with_entries(1..=3);
    let store = &disk.stores().raft;
    write(store, |batch| batch.put_record(ReplicaRecord { shard_id: 3, replica_id: 9, ..Default::default() })).unwrap();
    let flip = |key: &[u8]| {
        let mut value = store.db.get(key).unwrap().unwrap();
        value[0] ^= 0x40;
        store.db.put(key, value).unwrap();
    };
    flip(&rows::entry_key(LOG, 2));
    let error = store.recover_log(LOG, 0, EVERYTHING).unwrap_err();
    assert_eq!(error.to_string(), "raft/ is corrupt: entry 2 of shard 3 replica 9 does not match its checksum");
    flip(&rows::record_key(ShardId(3)));
    assert!(matches!(store.recover(), Err(EngineError::Corrupt { .. })));
}

#[test]
fn a_row_of_an_unknown_kind_keeps_the_store_shut() {
    let disk = disk_with_entries(1..=3);
    let (path, identity) = (disk.path().join("raft"), disk.stores().identity.clone());
    disk.stores().raft.db.put([rows::UNKNOWN, 1], b"from a newer version").unwrap();
    let _directory = disk.close();
    let opened = RaftStore::open(&path, &identity, &EngineOptions::default());
    assert!(matches!(opened, Err(EngineError::Unknown { store: StoreKind::Raft, .. })));
}

#[test]
fn entries_without_the_state_of_their_log_keep_the_store_shut() {
    let disk = disk_with_entries(1..=3);
    let (path, identity) = (disk.path().join("raft"), disk.stores().identity.clone());
    disk.stores().raft.db.delete(rows::log_state_key(LOG)).unwrap();
    let _directory = disk.close();
    let opened = RaftStore::open(&path, &identity, &EngineOptions::default());
    assert!(matches!(opened, Err(EngineError::Corrupt { .. })));
}

#[test]
fn after_one_failed_write_the_store_takes_and_gives_nothing() {
    let disk = disk_with_entries(1..=3);
    let store = &disk.stores().raft;
    let before = store.syncs();
    store.fail_next_write();
    let first = write(store, |batch| batch.append(LOG, entries(4..=4, 6)));
    assert!(matches!(first, Err(EngineError::RocksDb { .. })), "{first:?}");
    let second = write(store, |batch| batch.append(LOG, entries(4..=4, 6)));
    assert!(matches!(second, Err(EngineError::Poisoned { .. })), "{second:?}");
    assert!(matches!(store.recover(), Err(EngineError::Poisoned { .. })));
    assert!(matches!(store.fetch(LOG, 1, 2, 0), Err(EngineError::Poisoned { .. })));
    assert_eq!(store.syncs(), before);
}

#[test]
fn records_map_and_incarnations_come_back_after_a_restart_and_a_log_without_a_record_is_an_orphan() {
    let mut disk = disk_with_entries(1..=3);
    let record = ReplicaRecord { shard_id: 4, replica_id: 11, min_replica_id: 2, founder: true, destroying: false };
    let founded = LogId { shard: ShardId(4), replica: ReplicaId(11) };
    let (at, hard_state) = (Position { index: 5, term: 5 }, HardState { term: 5, vote: 0, commit: 5 });
    write(&disk.stores().raft, |batch| {
        batch.put_record(record);
        batch.restart_log(founded, at, hard_state);
        batch.put_map(Bytes::from_static(b"a map"));
        batch.put_incarnation(NodeId(2), 40);
        batch.put_incarnation(NodeId(2), 41);
    })
    .unwrap();
    disk.reopen();
    let recovered = disk.stores().raft.recover().unwrap();
    assert_eq!(recovered.replicas.len(), 1);
    assert_eq!(recovered.replicas[0].record, record);
    assert_eq!(recovered.replicas[0].log.map(|log| (log.hard_state, log.truncated)), Some((hard_state, at)));
    assert_eq!(recovered.orphans, [LOG]);
    assert_eq!(recovered.map, Some(Bytes::from_static(b"a map")));
    assert_eq!(recovered.incarnations, BTreeMap::from([(NodeId(2), 41)]));
    write(&disk.stores().raft, |batch| batch.delete_log(LOG)).unwrap();
    disk.reopen();
    assert!(disk.stores().raft.recover().unwrap().orphans.is_empty());
    assert_eq!(stored_entries(&disk.stores().raft), [0u64; 0]);
}

/// One log as it must be: the simplest form of the same thing.
#[derive(Clone, Debug, Default)]
struct Model {
    hard_state: HardState,
    truncated: Position,
    entries: Vec<Entry>,
}

impl Model {
    fn last(&self) -> Position {
        self.entries.last().map_or(self.truncated, |entry| Position { index: entry.index, term: entry.term })
    }

    fn recovered(&self) -> RecoveredLog {
        let mut terms: Vec<Position> = Vec::new();
        for entry in &self.entries {
            if terms.last().is_none_or(|run| run.term != entry.term) {
                terms.push(Position { index: entry.index, term: entry.term });
            }
        }
        let Self { hard_state, truncated, entries } = self.clone();
        RecoveredLog { hard_state, truncated, terms, last: self.last(), entries }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// `count` entries of a term `raised` above the last one's, `back` entries before the end.
    Append {
        back: u64,
        count: u64,
        raised: u64,
    },
    HardState {
        term: u64,
        vote: u64,
        commit: u64,
    },
    Truncate {
        keep: u64,
    },
    Restart {
        ahead: u64,
    },
    Delete,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6u64, 1..8u64, 0..2u64).prop_map(|(back, count, raised)| Step::Append { back, count, raised }),
        2 => (0..9u64, 0..3u64, 0..99u64).prop_map(|(term, vote, commit)| Step::HardState { term, vote, commit }),
        3 => (0..9u64).prop_map(|keep| Step::Truncate { keep }),
        1 => (0..9u64).prop_map(|ahead| Step::Restart { ahead }),
        1 => Just(Step::Delete),
    ]
}

/// Does the step to both.
fn apply(step: &Step, log: LogId, model: &mut Model, batch: &mut LogBatch) {
    let last = model.last();
    match *step {
        Step::Append { back, count, raised } => {
            let first = (last.index + 1).saturating_sub(back).max(model.truncated.index + 1);
            let new = entries(first..=first + count - 1, last.term + raised);
            model.entries.truncate((first - model.truncated.index - 1) as usize);
            model.entries.extend(new.clone());
            batch.append(log, new);
        }
        Step::HardState { term, vote, commit } => {
            model.hard_state = HardState { term, vote, commit };
            batch.set_hard_state(log, model.hard_state);
        }
        Step::Truncate { keep } => {
            let purged = model.entries.len().saturating_sub(keep as usize);
            if let Some(entry) = model.entries.drain(..purged).next_back() {
                model.truncated = Position { index: entry.index, term: entry.term };
            }
            batch.truncate(log, model.truncated);
        }
        Step::Restart { ahead } => {
            let at = Position { index: last.index + ahead, term: last.term + 1 };
            let hard_state = HardState { term: at.term, vote: 0, commit: at.index };
            *model = Model { hard_state, truncated: at, entries: Vec::new() };
            batch.restart_log(log, at, hard_state);
        }
        Step::Delete => {
            *model = Model::default();
            batch.delete_log(log);
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 48, ..Config::default() })]

    #[test]
    fn the_store_equals_the_model_after_every_batch_and_every_restart(
        batches in prop::collection::vec((prop::collection::vec((0..3u64, step()), 1..6), prop::bool::weighted(0.2)), 1..24),
    ) {
        let mut disk = TestDisk::new(1);
        let log = |replica| LogId { shard: ShardId(7), replica: ReplicaId(replica) };
        let mut models = [Model::default(), Model::default(), Model::default()];
        for (steps, restart) in batches {
            let mut batch = LogBatch::new();
            for (replica, step) in &steps {
                apply(step, log(*replica), &mut models[*replica as usize], &mut batch);
            }
            disk.stores().raft.write(batch).unwrap();
            if restart {
                disk.reopen();
            }
            for (model, replica) in models.iter().zip(0..) {
                let store = &disk.stores().raft;
                prop_assert_eq!(store.recover_log(log(replica), 0, EVERYTHING).unwrap(), model.recovered());
                if let (Some(first), Some(last)) = (model.entries.first(), model.entries.last()) {
                    let fetched = store.fetch(log(replica), first.index, last.index + 1, usize::MAX).unwrap();
                    prop_assert_eq!(&fetched, &model.entries);
                }
            }
        }
    }
}
