//! Damage to the write-ahead logs of the two stores: what a power cut leaves is repaired, anything else is refused where
//! votes are at stake (HAZARDS H21).
#![allow(clippy::unwrap_used, clippy::panic)] // The helpers are not test functions, which may do so anyway.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use granary_common::{
    ReplicaId, ShardId,
    log::{Entry, EntryKind, HardState},
};
use granary_engine::{
    Disk, EngineOptions, IDENTITY_FORMAT, LogBatch, LogId,
    raft_store::{RecoveredLog, TailLimits},
};
use granary_machine::{View as _, Write, rows};
use granary_proto::storage::Identity;
use tempfile::TempDir;

const LOG: LogId = LogId { shard: ShardId(1), replica: ReplicaId(4) };
const ENTRIES: u64 = 20;

fn row(index: u64) -> Bytes {
    rows::data_key_in(7, &index.to_be_bytes())
}

/// The closed directory of a member that wrote each of its entries, and a row for each, by itself.
fn member() -> TempDir {
    member_of(ENTRIES)
}

fn member_of(entries: u64) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut disk = Disk::open(directory.path(), EngineOptions::default()).unwrap();
    let uuid = disk.uuid().to_owned();
    let identity = Identity { format: IDENTITY_FORMAT, cluster_id: "a-cluster".into(), node_id: 1, uuid };
    disk.become_member(identity).unwrap();
    (1..=entries).for_each(|index| write(&disk, index));
    directory
}

fn write(disk: &Disk, index: u64) {
    write_of(disk, index, 200);
}

/// Writes an entry of so many bytes, and its row.
fn write_of(disk: &Disk, index: u64, bytes: usize) {
    let stores = disk.stores().unwrap();
    let data = Bytes::from(vec![index as u8; bytes]);
    let entry = Entry { index, term: 1, kind: EntryKind::Normal, data: data.clone(), context: Bytes::new() };
    let mut batch = LogBatch::new();
    batch.append(LOG, vec![entry]);
    stores.raft.write(batch).unwrap();
    stores.data.write(&[Write::Put { key: row(index), value: data }]).unwrap();
}

/// The write-ahead log that holds what was written last.
fn newest_wal(store: &Path) -> PathBuf {
    let files = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "log")).max().unwrap()
}

fn recover(directory: &TempDir) -> Result<RecoveredLog, Box<dyn std::error::Error>> {
    let disk = Disk::open(directory.path(), EngineOptions::default())?;
    let everything = TailLimits { entries: usize::MAX, bytes: usize::MAX };
    Ok(disk.stores().unwrap().raft.recover_log(LOG, 0, everything)?)
}

/// The mark of what is synced in `raft/`.
fn mark(directory: &TempDir) -> PathBuf {
    directory.path().join("raft-synced")
}

/// A member whose power went before the sync of its last entry: the mark does not name it, but the start before it.
fn member_with_an_unsynced_end() -> TempDir {
    let directory = member_of(ENTRIES - 1);
    let disk = Disk::open(directory.path(), EngineOptions::default()).unwrap();
    let before = fs::read(mark(&directory)).unwrap();
    write(&disk, ENTRIES);
    drop(disk);
    fs::write(mark(&directory), before).unwrap();
    directory
}

/// Cuts off the end of the newest log of `raft/`.
fn cut(directory: &TempDir, bytes: u64) {
    let wal = newest_wal(&directory.path().join("raft"));
    let whole = fs::metadata(&wal).unwrap().len();
    fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(whole - bytes).unwrap();
}

#[test]
fn a_raft_log_torn_in_a_record_that_was_not_synced_opens_without_that_record() {
    // A record is longer than the 200 bytes of its entry.
    for torn in [1, 100, 200] {
        let directory = member_with_an_unsynced_end();
        cut(&directory, torn);
        let log = recover(&directory).unwrap();
        assert_eq!((log.last.index, log.entries.len() as u64), (ENTRIES - 1, ENTRIES - 1), "{torn}");
    }
}

#[test]
fn a_raft_log_that_has_lost_what_was_synced_keeps_the_node_down_and_is_said() {
    for lost in [1, 200, 1000] {
        let directory = member();
        cut(&directory, lost);
        let error = recover(&directory).unwrap_err().to_string();
        assert!(error.contains("raft/ is corrupt: its last write is number"), "{error}");
        // It stays so.
        assert_eq!(recover(&directory).unwrap_err().to_string(), error);
    }
}

#[test]
fn without_its_mark_a_store_opens_and_gets_a_new_one() {
    let directory = member();
    fs::remove_file(mark(&directory)).unwrap();
    assert_eq!(recover(&directory).unwrap().last.index, ENTRIES);
    assert!(fs::metadata(mark(&directory)).unwrap().len() > 0);
}

/// Flips a bit so far from the end of the newest log of `raft/`.
fn flip(directory: &TempDir, from_end: usize) {
    let wal = newest_wal(&directory.path().join("raft"));
    let mut bytes = fs::read(&wal).unwrap();
    let place = bytes.len() - from_end;
    bytes[place] ^= 1;
    fs::write(&wal, bytes).unwrap();
}

#[test]
fn a_flipped_bit_in_a_synced_record_of_the_raft_log_keeps_the_node_down_and_is_said() {
    for place in [50, 2500] {
        let directory = member();
        flip(&directory, place);
        for _ in 0..2 {
            let error = recover(&directory).unwrap_err().to_string();
            assert!(error.contains("raft/ is corrupt") && error.contains("was synced"), "{error}");
        }
    }
}

#[test]
fn a_wrong_record_that_was_not_synced_ends_the_raft_log_before_it() {
    let directory = member_with_an_unsynced_end();
    // The disk had stored the record's end without its beginning.
    flip(&directory, 150);
    assert_eq!(recover(&directory).unwrap().last.index, ENTRIES - 1);
}

#[test]
fn a_wrong_record_keeps_a_store_without_a_mark_down() {
    let directory = member();
    fs::remove_file(mark(&directory)).unwrap();
    flip(&directory, 50);
    let error = recover(&directory).unwrap_err().to_string();
    assert!(error.contains("raft/: open: Corruption"), "{error}");
}

#[test]
fn damage_in_the_unsynced_state_takes_the_rows_behind_it_and_none_before() {
    let directory = member();
    let wal = newest_wal(&directory.path().join("data"));
    let mut bytes = fs::read(&wal).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    fs::write(&wal, bytes).unwrap();
    let disk = Disk::open(directory.path(), EngineOptions::default()).unwrap();
    let view = disk.stores().unwrap().data.view();
    let present: Vec<bool> = (1..=ENTRIES).map(|index| view.get(&row(index)).unwrap().is_some()).collect();
    let first_lost = present.iter().position(|present| !present).unwrap();
    assert!(first_lost > 0);
    assert!(present[first_lost..].iter().all(|present| !present), "{present:?}");
}

#[test]
fn a_store_that_was_noted_to_have_lost_entries_never_opens_again() {
    let directory = member();
    let disk = Disk::open(directory.path(), EngineOptions::default()).unwrap();
    disk.stores().unwrap().raft.note_loss("entry 7 is gone").unwrap();
    drop(disk);
    for _ in 0..2 {
        let error = recover(&directory).unwrap_err().to_string();
        assert!(error.contains("entry 7 is gone") && error.contains("empty disk"), "{error}");
    }
}

/// Type and end of each record of a RocksDB log file: checksum (4 bytes), length (2), type (1), payload. What is left of a
/// block of 32 KiB behind a record is not used when no header fits.
fn records(bytes: &[u8]) -> Vec<(u8, usize)> {
    const BLOCK: usize = 32 << 10;
    let (mut records, mut at) = (Vec::new(), 0);
    while let Some(header) = bytes.get(at..at + 7) {
        at += 7 + usize::from(u16::from_le_bytes([header[4], header[5]]));
        records.push((header[6], at));
        if BLOCK - at % BLOCK < 7 {
            at += BLOCK - at % BLOCK;
        }
    }
    records
}

/// A member whose hard state and entries are in several tables, some of which were merged, and in the log.
fn member_with_tables() -> TempDir {
    let directory = member_of(0);
    let options = EngineOptions { raft_memtable_bytes: 256 << 10, ..EngineOptions::default() };
    let disk = Disk::open(directory.path(), options).unwrap();
    for part in 1..=4 {
        vote(&disk, part);
        (1 + (part - 1) * 5..=part * 5).for_each(|index| write(&disk, index));
        disk.stores().unwrap().raft.compact();
    }
    vote(&disk, 5);
    // Two memtables are full behind it, which is too few tables to be merged.
    (ENTRIES + 1..=2 * ENTRIES).for_each(|index| write_of(&disk, index, 8 << 10));
    directory
}

fn vote(disk: &Disk, vote: u64) {
    let mut batch = LogBatch::new();
    batch.set_hard_state(LOG, HardState { term: 1, vote, commit: 0 });
    disk.stores().unwrap().raft.write(batch).unwrap();
}

/// What a store consists of is in its manifest, whose end RocksDB takes for torn as it does with a log. But a table that it
/// forgot was a log before, which it then misses, or leaves a hole in ours; one that it remembers too long is not there.
#[test]
fn however_much_of_the_end_of_its_manifest_is_lost_a_raft_store_has_all_or_stays_down() {
    let directory = member_with_tables();
    let raft = directory.path().join("raft");
    let names: Vec<String> =
        fs::read_dir(&raft).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let manifest = names.iter().find(|name| name.starts_with("MANIFEST")).unwrap();
    let bytes = fs::read(raft.join(manifest)).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (mut whole, mut refused) = (0, 0);
    for end in records(&bytes).into_iter().flat_map(|(_, end)| [end, end - 3]) {
        copy_member(directory.path(), copy.path());
        fs::write(copy.path().join("raft").join(manifest), &bytes[..end]).unwrap();
        match recover(&copy) {
            Err(error) => {
                refused += 1;
                println!("{end} of {}: {error}", bytes.len());
            }
            Ok(log) => {
                whole += 1;
                println!("{end} of {}: whole", bytes.len());
                let found = (log.last.index, log.entries.len() as u64, log.hard_state.vote);
                assert_eq!(found, (2 * ENTRIES, 2 * ENTRIES, 5), "{end} of {}", bytes.len());
            }
        }
    }
    assert!(whole > 1 && refused > 4, "{whole} whole, {refused} refused");
}

/// Replaces `to` by a copy of a closed member's directory.
fn copy_member(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_member(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The files of a store that runs, as a power cut would leave them: the list of its tables first, for what comes later in
/// it is not needed.
fn crash_image(data: &Path, to: &Path) -> Vec<PathBuf> {
    fs::create_dir_all(to).unwrap();
    let names: Vec<String> =
        fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let (first, rest): (Vec<_>, Vec<_>) =
        names.iter().partition(|name| name.starts_with("MANIFEST") || name.as_str() == "CURRENT");
    for name in first.into_iter().chain(rest).filter(|name| name.as_str() != "LOCK") {
        // What has gone meanwhile shows in the number of logs.
        let _ = fs::copy(data.join(name), to.join(name));
    }
    let mut logs: Vec<PathBuf> = names.iter().filter(|name| name.ends_with(".log")).map(|name| to.join(name)).collect();
    logs.retain(|log| log.exists());
    logs.sort();
    logs
}

/// RocksDB takes a log that ends at the end of a record for whole, and replays the next one over what is missing.
#[test]
fn a_log_of_the_state_that_lost_its_end_hides_none_of_the_newer_one() {
    let directory = member_of(0);
    let options = EngineOptions { data_memtable_bytes: 24 << 20, ..EngineOptions::default() };
    let disk = Disk::open(directory.path(), options).unwrap();
    let data = &disk.stores().unwrap().data;
    let image = tempfile::tempdir().unwrap();
    let (mut index, mut logs) = (0, Vec::new());
    // Until two logs are there whose tables are not written yet.
    while logs.len() < 2 {
        index += 1;
        data.write(&[Write::Put { key: row(index), value: Bytes::from(vec![index as u8; 60 << 10]) }]).unwrap();
        // Each time, so that the last one is quick: quicker than the table of the older log.
        data.flush_wal().unwrap();
        let in_use = fs::read_dir(directory.path().join("data")).unwrap();
        let in_use = in_use.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".log"));
        if in_use.count() > 1 {
            index += 1;
            data.write(&[Write::Put { key: row(index), value: Bytes::from_static(b"newest") }]).unwrap();
            data.flush_wal().unwrap();
            fs::remove_dir_all(image.path()).unwrap();
            logs = crash_image(&directory.path().join("data"), image.path());
            logs.retain(|log| fs::metadata(log).unwrap().len() > 0);
        }
        assert!(index < 20_000, "no two logs at once");
    }
    drop(disk);
    // The older log loses its last record, of two fragments at least: each is as long as a block.
    let older = &logs[logs.len() - 2];
    let bytes = fs::read(older).unwrap();
    // A write ends with a record of type 1 (whole) or 4 (last of its fragments).
    let ends: Vec<usize> =
        records(&bytes).into_iter().filter(|(kind, _)| matches!(kind, 1 | 4)).map(|(_, end)| end).collect();
    assert!(ends.len() > 3, "{} writes", ends.len());
    fs::OpenOptions::new().write(true).open(older).unwrap().set_len(ends[ends.len() - 2] as u64).unwrap();
    fs::remove_dir_all(directory.path().join("data")).unwrap();
    fs::rename(image.path(), directory.path().join("data")).unwrap();
    let disk = Disk::open(directory.path(), EngineOptions::default()).unwrap();
    let view = disk.stores().unwrap().data.view();
    let present: Vec<bool> = (1..=index).map(|index| view.get(&row(index)).unwrap().is_some()).collect();
    let first_lost = present.iter().position(|present| !present).expect("a write is lost");
    assert!(first_lost > 0);
    let newer = present[first_lost..].iter().filter(|present| **present).count();
    assert_eq!(newer, 0, "write {} of {index} is gone, and newer ones are there", first_lost + 1);
}

/// A file system may store any of the writes that were not synced, and leaves zeros for others before them. RocksDB passes
/// over zeros up to the next block of its log, and goes on there if a record begins with it.
#[test]
fn a_write_lost_in_the_middle_of_the_log_of_the_state_takes_the_newer_ones_with_it() {
    const BLOCK: u64 = 32 << 10;
    let directory = member_of(0);
    let disk = Disk::open(directory.path(), EngineOptions::default()).unwrap();
    let log = newest_wal(&directory.path().join("data"));
    let (mut ends, mut overhead, mut rows) = (Vec::new(), 0, 0);
    let mut write = |bytes: u64| {
        rows += 1;
        let value = Bytes::from(vec![rows as u8; bytes as usize]);
        let data = &disk.stores().unwrap().data;
        data.write(&[Write::Put { key: row(rows), value }]).unwrap();
        data.flush_wal().unwrap();
        ends.push(fs::metadata(&log).unwrap().len());
        *ends.last().unwrap()
    };
    // So that too little is left of the first block for a header: the next one begins with a record.
    let mut end = write(1000);
    while BLOCK - end > 2500 {
        let before = std::mem::replace(&mut end, write(1000));
        overhead = end - before - 1000;
    }
    assert_eq!(write(BLOCK - end - overhead - 3), BLOCK - 3);
    for _ in 0..10 {
        write(1000);
    }
    drop(disk);
    let mut bytes = fs::read(&log).unwrap();
    bytes[ends[7] as usize..ends[8] as usize].fill(0);
    fs::write(&log, bytes).unwrap();
    let disk = Disk::open(directory.path(), EngineOptions::default()).unwrap();
    let view = disk.stores().unwrap().data.view();
    let present: Vec<u64> = (1..=rows).filter(|index| view.get(&row(*index)).unwrap().is_some()).collect();
    assert_eq!(present, (1..=8).collect::<Vec<u64>>());
}
