use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use granary_common::{META_SHARD, ShardId, SlotRange};
use granary_machine::{View, rows};
use granary_proto::raft::{SnapshotChunk, SnapshotManifest};

use super::{
    Exported, InstallStep, MAX_CHUNK, Received, SnapshotError, StagingArea, export, export::export_view, install,
    install_stepwise,
};
use crate::{
    EngineError, StoreKind, Stores,
    testing::{TestDisk, fill, put, put_state, state},
};

const SHARD: ShardId = ShardId(1);
const RANGE: SlotRange = SlotRange { start: 10, end: 20 };
/// Small, so that a snapshot has several files.
const FILE_BYTES: u64 = 2048;

fn source() -> (TestDisk, Exported) {
    let disk = TestDisk::new(1);
    fill(&disk.stores().data, SHARD, RANGE, 200, 60);
    let exported =
        export_view(&disk.stores().data.snapshot(), SHARD, &disk.stores().staging, FILE_BYTES, &mut || ()).unwrap();
    assert!(exported.manifest().files.len() > 1);
    (disk, exported)
}

fn receive(exported: &Exported, staging: &StagingArea) -> Result<Received, SnapshotError> {
    let mut incoming = staging.receive(exported.manifest().clone())?;
    for chunk in exported.chunks() {
        incoming.chunk(&chunk?)?;
    }
    incoming.finish()
}

fn send(exported: &Exported, to: &Stores) {
    let received = receive(exported, &to.staging).unwrap();
    let state = received.state().clone();
    install(&to.data, received, &state).unwrap();
}

fn names_in_staging(disk: &TestDisk) -> usize {
    fs::read_dir(disk.path().join("staging")).unwrap().count()
}

#[test]
fn an_installed_snapshot_has_the_hash_of_its_source_and_replaces_every_older_row() {
    let (source, exported) = source();
    let mut target = TestDisk::new(2);
    fill(&target.stores().data, SHARD, RANGE, 300, 20);
    fill(&target.stores().data, ShardId(2), SlotRange { start: 20, end: 21 }, 5, 20);
    let neighbour = target.stores().data.replica_hash(ShardId(2)).unwrap();
    send(&exported, target.stores());
    let expected = source.stores().data.replica_hash(SHARD).unwrap();
    for _ in 0..2 {
        let data = &target.stores().data;
        assert_eq!(data.replica_hash(SHARD).unwrap(), expected);
        assert_eq!(data.replica_hash(ShardId(2)).unwrap(), neighbour);
        assert_eq!(data.interrupted_installs().unwrap(), []);
        target.reopen();
    }
    assert_eq!(names_in_staging(&target), 0);
}

#[test]
fn an_installed_shard_takes_writes_and_is_exported_again() {
    let (_source, exported) = source();
    let [second, third] = [TestDisk::new(2), TestDisk::new(3)];
    send(&exported, second.stores());
    let data = &second.stores().data;
    data.write(&[put(rows::data_key_in(10, b"key0000"), "changed"), put_state(&state(SHARD, RANGE, 61))]).unwrap();
    assert_eq!(data.view().get(&rows::data_key_in(10, b"key0000")).unwrap(), Some("changed".into()));
    send(&export(data, SHARD, &second.stores().staging, &mut || ()).unwrap(), third.stores());
    assert_eq!(third.stores().data.replica_hash(SHARD).unwrap(), data.replica_hash(SHARD).unwrap());
}

#[test]
fn a_shard_without_rows_and_the_meta_shard_are_carried_over() {
    let [from, to] = [TestDisk::new(1), TestDisk::new(2)];
    let writes = [
        put_state(&state(SHARD, RANGE, 5)),
        put_state(&state(META_SHARD, SlotRange::NONE, 9)),
        put(rows::meta_key(), "the map"),
    ];
    from.stores().data.write(&writes).unwrap();
    for shard in [SHARD, META_SHARD] {
        send(&export(&from.stores().data, shard, &from.stores().staging, &mut || ()).unwrap(), to.stores());
        let [from, to] = [&from, &to].map(|disk| disk.stores().data.replica_hash(shard).unwrap().unwrap());
        assert_eq!(from, to);
    }
    assert_eq!(to.stores().data.view().get(&rows::meta_key()).unwrap(), Some("the map".into()));
}

/// One table with all rows of a shard would span those of all shards between its slots and its clients. Eight of those were
/// merged with each other again and again: 2 GB were written for the 600 MB that a node got.
#[test]
fn snapshots_of_many_shards_are_taken_in_without_tables_that_wait_to_be_merged() {
    let [from, to] = [TestDisk::new(1), TestDisk::new(2)];
    for number in 1..=8u16 {
        let (shard, slots) = (ShardId(number.into()), SlotRange { start: number * 10, end: number * 10 + 10 });
        fill(&from.stores().data, shard, slots, 50, 60);
        let client = rows::clients_range(shard).start;
        from.stores().data.write(&[put(client, "its last answer")]).unwrap();
        send(&export(&from.stores().data, shard, &from.stores().staging, &mut || ()).unwrap(), to.stores());
        let [from, to] = [&from, &to].map(|disk| disk.stores().data.replica_hash(shard).unwrap().unwrap());
        assert_eq!(from, to);
    }
    assert_eq!(to.stores().data.unsorted_tables(), 0);
}

#[test]
fn what_is_written_behind_the_moment_of_a_snapshot_is_not_in_it_nor_in_its_applied_index() {
    let disk = TestDisk::new(1);
    let Stores { data, staging, .. } = disk.stores();
    fill(data, SHARD, RANGE, 20, 60);
    let (moment, expected) = (data.snapshot(), data.replica_hash(SHARD).unwrap());
    fill(data, SHARD, RANGE, 30, 61);
    let exported = export_view(&moment, SHARD, staging, FILE_BYTES, &mut || ()).unwrap();
    assert_eq!(exported.manifest().applied_index, 60);
    let target = TestDisk::new(2);
    send(&exported, target.stores());
    assert_eq!(target.stores().data.replica_hash(SHARD).unwrap(), expected);
}

#[test]
fn a_snapshot_made_while_writes_go_on_holds_exactly_what_its_applied_index_says() {
    let disk = TestDisk::new(1);
    let Stores { data, staging, .. } = disk.stores().clone();
    let apply = |index: u64| {
        let row = rows::data_key_in(10 + (index % 10) as u16, format!("{index:08}").as_bytes());
        data.write(&[put(row, "value"), put_state(&state(SHARD, RANGE, index))]).unwrap();
    };
    apply(1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| (2..).take_while(|_| !stop.load(Relaxed)).for_each(apply));
        let _writes_end = Stops(&stop);
        let mut before = 0;
        for node in 2..6 {
            let snapshot = export(&data, SHARD, &staging, &mut || ()).unwrap();
            let target = TestDisk::new(node);
            send(&snapshot, target.stores());
            let hash = target.stores().data.replica_hash(SHARD).unwrap().unwrap();
            assert_eq!((hash.applied_index, hash.rows), (snapshot.manifest().applied_index, hash.applied_index + 1));
            assert!(hash.applied_index >= before);
            before = hash.applied_index;
        }
    });
}

/// Also when an assertion fails: else the scope would wait for ever.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn a_crash_behind_any_step_of_an_install_leaves_a_marker_or_the_new_state_and_is_overcome() {
    let (source, exported) = source();
    let expected = source.stores().data.replica_hash(SHARD).unwrap();
    for crash in [InstallStep::Emptied, InstallStep::Ingested, InstallStep::Done] {
        let mut target = TestDisk::new(2);
        // The old rows are at other slots, in part.
        fill(&target.stores().data, SHARD, SlotRange { start: 15, end: 25 }, 10, 20);
        let received = receive(&exported, &target.stores().staging).unwrap();
        let state = received.state().clone();
        let cut = install_stepwise(&target.stores().data, received, &state, &mut |step| match step {
            step if step == crash => Err(EngineError::Refused { store: StoreKind::Data, why: "a crash".into() }),
            _ => Ok(()),
        });
        assert!(cut.is_err());
        // Starting twice before anything is done about it changes nothing.
        target.reopen();
        target.reopen();
        let data = &target.stores().data;
        let interrupted = data.interrupted_installs().unwrap();
        if crash == InstallStep::Done {
            assert_eq!(interrupted, []);
            assert_eq!(data.replica_hash(SHARD).unwrap(), expected);
            continue;
        }
        assert_eq!(interrupted.iter().map(|found| found.shard).collect::<Vec<_>>(), [SHARD]);
        assert_eq!(data.shard_state(SHARD).unwrap(), None);
        data.empty_shard(SHARD).unwrap();
        let all = rows::data_range(SlotRange::ALL);
        assert_eq!(data.view().next(&all.start, &all.end).unwrap(), None);
        assert_eq!(data.interrupted_installs().unwrap(), []);
        send(&exported, target.stores());
        assert_eq!(target.stores().data.replica_hash(SHARD).unwrap(), expected);
    }
}

#[test]
fn a_snapshot_that_was_received_but_not_installed_leaves_the_old_state_and_no_files() {
    let (_source, exported) = source();
    let mut target = TestDisk::new(2);
    fill(&target.stores().data, SHARD, RANGE, 3, 20);
    let before = target.stores().data.replica_hash(SHARD).unwrap();
    let received = receive(&exported, &target.stores().staging).unwrap();
    // As a crash does: nothing is cleaned up.
    std::mem::forget(received);
    assert_eq!(names_in_staging(&target), 1);
    target.reopen();
    assert_eq!(names_in_staging(&target), 0);
    assert_eq!(target.stores().data.replica_hash(SHARD).unwrap(), before);
}

#[test]
fn an_install_that_fails_to_write_poisons_the_store_and_keeps_its_marker() {
    let (_source, exported) = source();
    let mut target = TestDisk::new(2);
    let Stores { data, staging, .. } = target.stores().clone();
    let received = receive(&exported, &staging).unwrap();
    let state = received.state().clone();
    let failed = install_stepwise(&data, received, &state, &mut |step| {
        if step == InstallStep::Emptied {
            data.fail_next_write();
        }
        Ok(())
    });
    assert!(matches!(failed, Err(SnapshotError::Engine(EngineError::RocksDb { .. }))), "{failed:?}");
    assert!(matches!(data.write(&[]), Err(EngineError::Poisoned { .. })));
    drop((data, staging));
    target.reopen();
    assert_eq!(target.stores().data.interrupted_installs().unwrap().len(), 1);
}

/// What the receiver says to these chunks.
fn refuse(manifest: &SnapshotManifest, chunks: &[SnapshotChunk]) -> String {
    let target = TestDisk::new(2);
    let take = || {
        let mut incoming = target.stores().staging.receive(manifest.clone())?;
        chunks.iter().try_for_each(|chunk| incoming.chunk(chunk))?;
        incoming.finish().map(drop)
    };
    let error = take().unwrap_err().to_string();
    assert_eq!(names_in_staging(&target), 0, "{error}");
    error
}

#[test]
fn a_damaged_reordered_or_shortened_stream_is_refused_and_leaves_no_file() {
    let (_source, exported) = source();
    let manifest = exported.manifest();
    let chunks: Vec<SnapshotChunk> = exported.chunks().map(Result::unwrap).collect();
    let damaged = |change: &dyn Fn(&mut Vec<SnapshotChunk>)| {
        let mut chunks = chunks.clone();
        change(&mut chunks);
        refuse(manifest, &chunks)
    };
    let flip = |chunk: &mut SnapshotChunk| {
        let mut data = chunk.data.to_vec();
        data[9] ^= 1;
        chunk.data = data.into();
    };
    assert!(damaged(&|chunks| flip(&mut chunks[1])).contains("checksum of the chunk at 0 of file 1"));
    let consistent = damaged(&|chunks| {
        flip(&mut chunks[0]);
        chunks[0].crc32c = crc32c::crc32c(&chunks[0].data);
    });
    assert!(consistent.contains("checksum of file 0"), "{consistent}");
    assert!(damaged(&|chunks| chunks.swap(0, 1)).contains("expected (0, 0)"));
    assert!(damaged(&|chunks| chunks[0].offset = 1).contains("expected (0, 0)"));
    assert!(damaged(&|chunks| drop(chunks.pop())).contains("it ended after"));
    assert!(damaged(&|chunks| chunks.push(chunks[0].clone())).contains("behind the last file"));
    assert!(damaged(&|chunks| chunks[0].data = Default::default()).contains("a chunk of 0 bytes"));
    assert!(damaged(&|chunks| chunks[0].data = vec![0; MAX_CHUNK + 1].into()).contains("allowed are 1 to"));
}

#[test]
fn a_manifest_of_another_cluster_or_format_or_that_contradicts_itself_is_refused() {
    let (_source, exported) = source();
    let refused = |change: &dyn Fn(&mut SnapshotManifest)| {
        let mut manifest = exported.manifest().clone();
        change(&mut manifest);
        refuse(&manifest, &[])
    };
    assert!(refused(&|manifest| manifest.cluster_id = "other".into()).contains("cluster_id is other"));
    assert!(refused(&|manifest| manifest.format = 2).contains("format is 2, this build knows 1"));
    assert!(refused(&|manifest| manifest.files[0].bytes = 0).contains("a file's bytes is 0"));
    assert!(refused(&|manifest| manifest.files[0].bytes = u64::MAX).contains("a file's bytes is"));
    assert!(refused(&|manifest| manifest.applied_index += 1).contains("shard_state"));
    assert!(refused(&|manifest| manifest.shard_state_crc32c ^= 1).contains("checksum of the shard's state"));
    let many = vec![exported.manifest().files[0].clone(); super::MAX_FILES + 1];
    assert!(refused(&|manifest| manifest.files = many.clone()).contains("the number of files"));
    let huge = granary_proto::raft::SnapshotFile { bytes: super::MAX_FILE_BYTES, ..Default::default() };
    let more_than_any_disk = vec![huge; super::MAX_FILES];
    assert!(refused(&|manifest| manifest.files = more_than_any_disk.clone()).contains("the disk has"));
}

#[test]
fn a_shard_that_is_not_here_cannot_be_exported() {
    let disk = TestDisk::new(1);
    let missing = export(&disk.stores().data, SHARD, &disk.stores().staging, &mut || ());
    assert!(matches!(missing, Err(SnapshotError::NoShard(SHARD))));
}

#[test]
fn a_state_of_another_shard_or_index_is_not_installed_with_the_files() {
    let (_source, exported) = source();
    let target = TestDisk::new(2);
    for wrong in [state(ShardId(2), RANGE, 60), state(SHARD, RANGE, 61)] {
        let received = receive(&exported, &target.stores().staging).unwrap();
        let error = install(&target.stores().data, received, &wrong).unwrap_err();
        assert!(error.to_string().contains("the snapshot is of shard 1 at 60"), "{error}");
    }
    assert_eq!(target.stores().data.interrupted_installs().unwrap(), []);
}

/// Torture, seed 63109086: 2 MB of rows that had been written over a hundred times were taken for 250 MB, and on a disk
/// that had no room for those no snapshot was made, so that a replica could never follow.
#[test]
fn rows_that_are_written_over_take_the_room_of_what_is_there_and_no_more() {
    let disk = TestDisk::new(1);
    let data = &disk.stores().data;
    let range = SlotRange { start: 0, end: 4 };
    for round in 1..=30 {
        fill(data, SHARD, range, 50, round);
    }
    data.compact();
    let written = 30 * 4 * 50 * 100;
    let most = crate::data_store::most(written, data.approximate_bytes(range), data.memory_bytes());
    let exported = export(data, SHARD, &disk.stores().staging, &mut || ()).unwrap();
    assert!(exported.bytes() <= most * 2 && most < written / 5, "{} of {most}", exported.bytes());
    // What is in memory only counts too.
    let other = TestDisk::new(1);
    fill(&other.stores().data, SHARD, range, 50, 1);
    let data = &other.stores().data;
    let (tables, memory) = (data.approximate_bytes(range), data.memory_bytes());
    assert!(tables == 0 && memory > 10_000, "{tables}, {memory}");
    assert_eq!(crate::data_store::most(u64::MAX, tables, memory), memory);
    assert_eq!(crate::data_store::most(7, u64::MAX, u64::MAX), 7);
}
