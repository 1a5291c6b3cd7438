use granary_common::{META_SHARD, ShardId, SlotRange};
use granary_machine::{View, Write, rows};
use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};

use crate::{
    DataStore, EngineError, EngineOptions, StoreKind,
    testing::{TestDisk, fill, put, put_state, state},
};

const SHARD: ShardId = ShardId(1);
const RANGE: SlotRange = SlotRange { start: 10, end: 20 };

#[test]
fn writes_happen_in_their_order_and_a_snapshot_does_not_see_later_ones() {
    let disk = TestDisk::new(1);
    let data = &disk.stores().data;
    let key = |name: &str| rows::data_key_in(10, name.as_bytes());
    data.write(&[put(key("a"), "old"), put(key("b"), "old")]).unwrap();
    let snapshot = data.snapshot();
    data.write(&[
        Write::DeleteRange { start: key("a"), end: key("z") },
        put(key("b"), "new"),
        put(key("c"), "new"),
        Write::Delete { key: key("c") },
    ])
    .unwrap();
    let all = rows::data_range(RANGE);
    assert_eq!(data.view().next(&all.start, &all.end).unwrap(), Some((key("b"), "new".into())));
    assert_eq!(data.view().get(&key("c")).unwrap(), None);
    assert_eq!(snapshot.get(&key("a")).unwrap(), Some("old".into()));
    assert_eq!(snapshot.next(&key("aa"), &all.end).unwrap(), Some((key("b"), "old".into())));
    assert_eq!(data.view().next(&all.end, &all.start).unwrap(), None);
}

#[test]
fn bytes_since_the_flush_are_counted_and_only_syncs_count_as_syncs() {
    let disk = TestDisk::new(1);
    let data = &disk.stores().data;
    fill(data, SHARD, RANGE, 3, 6);
    assert_eq!(data.syncs(), 0);
    assert!(data.bytes_since_flush() > 0);
    data.flush_wal().unwrap();
    assert_eq!((data.syncs(), data.bytes_since_flush()), (1, 0));
    data.write_synced(&[put_state(&state(SHARD, RANGE, 7))]).unwrap();
    assert_eq!(data.syncs(), 2);
}

#[test]
fn after_one_failed_sync_the_store_takes_nothing_and_never_syncs_again() {
    let disk = TestDisk::new(1);
    let data = &disk.stores().data;
    fill(data, SHARD, RANGE, 1, 6);
    data.fail_next_write();
    assert!(matches!(data.flush_wal(), Err(EngineError::RocksDb { store: StoreKind::Data, .. })));
    assert!(matches!(data.flush_wal(), Err(EngineError::Poisoned { .. })));
    assert!(matches!(data.write(&[]), Err(EngineError::Poisoned { .. })));
    assert!(matches!(data.shard_states(), Err(EngineError::Poisoned { .. })));
    assert_eq!(data.syncs(), 0);
}

#[test]
fn states_of_all_shards_come_back_after_a_restart() {
    let mut disk = TestDisk::new(1);
    let states = [state(META_SHARD, SlotRange::NONE, 8), state(SHARD, RANGE, 9)];
    disk.stores().data.write(&states.each_ref().map(put_state)).unwrap();
    disk.reopen();
    assert_eq!(disk.stores().data.shard_states().unwrap(), states);
    assert_eq!(disk.stores().data.shard_state(ShardId(5)).unwrap(), None);
}

#[test]
fn a_state_that_cannot_be_decoded_or_is_under_another_shards_key_is_an_error() {
    let disk = TestDisk::new(1);
    let data = &disk.stores().data;
    data.write(&[put(rows::shard_key(SHARD), vec![0xff])]).unwrap();
    assert!(matches!(data.shard_states(), Err(EngineError::Corrupt { .. })));
    data.write(&[put(rows::shard_key(SHARD), prost::Message::encode_to_vec(&state(ShardId(2), RANGE, 1)))]).unwrap();
    assert!(matches!(data.shard_states(), Err(EngineError::Corrupt { .. })));
}

#[test]
fn emptying_a_shard_takes_all_its_rows_and_none_of_its_neighbours() {
    let disk = TestDisk::new(1);
    let data = &disk.stores().data;
    let neighbours = [
        (ShardId(2), SlotRange { start: 0, end: 10 }),
        (ShardId(3), SlotRange { start: 20, end: 30 }),
        (META_SHARD, SlotRange::NONE),
    ];
    for (shard, range) in neighbours {
        fill(data, shard, range, 2, 6);
    }
    let before = neighbours.map(|(shard, _)| data.replica_hash(shard).unwrap());
    fill(data, SHARD, RANGE, 2, 6);
    data.empty_shard(SHARD).unwrap();
    assert_eq!(data.replica_hash(SHARD).unwrap(), None);
    assert_eq!(neighbours.map(|(shard, _)| data.replica_hash(shard).unwrap()), before);
    for range in [rows::data_range(RANGE), rows::answers_range(SHARD), rows::clients_range(SHARD)] {
        assert_eq!(data.view().next(&range.start, &range.end).unwrap(), None);
    }
    assert_eq!(data.syncs(), 1);
}

#[test]
fn the_hash_sees_every_row_of_the_shard_and_nothing_else() {
    let disk = TestDisk::new(1);
    let data = &disk.stores().data;
    fill(data, SHARD, RANGE, 2, 6);
    let hash = || data.replica_hash(SHARD).unwrap().unwrap();
    let before = hash();
    assert_eq!((before.applied_index, before.rows), (6, 10 * 2 + 3));
    let own = [
        rows::data_key_in(19, b"key0001"),
        rows::data_key_in(10, b""),
        rows::answer_key(SHARD, 7, 1),
        rows::client_key(SHARD, 8),
    ];
    for key in own {
        let old = data.view().get(&key).unwrap();
        data.write(&[put(key.clone(), "other")]).unwrap();
        assert_ne!(hash().hash, before.hash, "{key:02x?}");
        data.write(&[old.map_or(Write::Delete { key: key.clone() }, |value| put(key, value))]).unwrap();
        assert_eq!(hash(), before);
    }
    data.write(&[put(rows::data_key_in(20, b"a"), "x"), put(rows::answer_key(ShardId(2), 7, 1), "x")]).unwrap();
    assert_eq!(hash(), before);
    data.write(&[put_state(&state(SHARD, RANGE, 7))]).unwrap();
    assert_eq!(hash().applied_index, 7);
    assert_ne!(hash().hash, before.hash);
}

#[test]
fn a_row_of_an_unknown_kind_keeps_the_store_shut() {
    let disk = TestDisk::new(1);
    let (path, identity) = (disk.path().join("data"), disk.stores().identity.clone());
    disk.stores().data.write(&[put(bytes::Bytes::from_static(&[0x11, 0]), "from a newer version")]).unwrap();
    let _directory = disk.close();
    let opened = DataStore::open(&path, &identity, &EngineOptions::default());
    assert!(matches!(opened, Err(EngineError::Unknown { store: StoreKind::Data, .. })));
}

#[test]
fn a_get_of_a_large_table_reads_some_blocks_also_when_its_filter_does_not_fit_into_the_cache() {
    const ROWS: usize = 300_000;
    const GETS: usize = 300;
    let disk = TestDisk::with(1, EngineOptions { block_cache_bytes: 256 << 10, ..EngineOptions::default() });
    let data = &disk.stores().data;
    let key = |row: usize| rows::data_key_in(10, format!("{row:08}").as_bytes());
    for first in (0..ROWS).step_by(10_000) {
        let rows: Vec<Write> = (first..first + 10_000).map(|row| put(key(row), "value")).collect();
        data.write(&rows).unwrap();
    }
    data.compact();
    set_perf_stats(PerfStatsLevel::EnableCount);
    let mut of_this_thread = PerfContext::default();
    of_this_thread.reset();
    for row in (0..ROWS).step_by(ROWS / GETS) {
        assert_eq!(data.view().get(&key(row)).unwrap(), Some("value".into()));
    }
    let bytes = of_this_thread.metric(PerfMetric::BlockReadByte) as usize / GETS;
    set_perf_stats(PerfStatsLevel::Disable);
    // A row takes 10 bits of the filter: it is 375 kB.
    assert!((1..64 << 10).contains(&bytes), "{bytes} bytes were read for each get");
}
