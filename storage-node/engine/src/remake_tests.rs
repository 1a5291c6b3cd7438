//! A store with damage in it, made anew at the next start.

use std::{fs, path::PathBuf};

use granary_common::SlotRange;
use granary_machine::{View as _, rows};
use granary_proto::{map::ClusterMap, raft::ConfState};
use prost::Message as _;

use super::*;
use crate::{
    Disk, EngineOptions, LogBatch,
    testing::{TestDisk, fill, put_state, state},
};

/// Shards with as many slots each, of which each holds some rows of 100 bytes.
const SHARDS: u32 = 4;
const SLOTS: u16 = 8;

fn range(shard: ShardId) -> SlotRange {
    let start = (shard.0 - 1) as u16 * SLOTS;
    SlotRange { start, end: start + SLOTS }
}

/// A member with all its rows in one table, closed.
fn member(voters: &[u64]) -> tempfile::TempDir {
    let disk = TestDisk::new(1);
    let data = &disk.stores().data;
    for shard in (1..=SHARDS).map(ShardId) {
        fill(data, shard, range(shard), 200, 9);
        let mut state = state(shard, range(shard), 9);
        state.conf_state = Some(ConfState { voters: voters.to_vec(), ..ConfState::default() });
        data.write_synced(&[put_state(&state)]).unwrap();
    }
    data.compact();
    let map = ClusterMap { replication_factor: voters.len() as u32, ..ClusterMap::default() };
    let mut batch = LogBatch::new();
    batch.put_map(map.encode_to_vec().into());
    disk.stores().raft.write(batch).unwrap();
    disk.close()
}

fn manifest(root: &Path) -> PathBuf {
    let files = fs::read_dir(root.join("data")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.to_string_lossy().contains("MANIFEST")).max().unwrap()
}

/// The only table of data/.
fn table(root: &Path) -> PathBuf {
    let files = fs::read_dir(root.join("data")).unwrap().map(|entry| entry.unwrap().path());
    let tables: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "sst")).collect();
    assert_eq!(tables.len(), 1, "{tables:?}");
    tables[0].clone()
}

fn flip(path: &Path, place: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[place] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn open(root: &Path) -> Disk {
    Disk::open(root, EngineOptions::default()).unwrap()
}

/// Opens a member with a flipped byte in the middle of its table, and lets the check find it.
fn found(root: &Path) -> String {
    let disk = open(root);
    let data = &disk.stores().unwrap().data;
    assert_eq!(data.damage(), None);
    let error = data.check_tables(&root.join("staging/check"), &[], u64::MAX, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("Corruption"), "{error}");
    data.damage().unwrap().to_owned()
}

#[test]
fn a_whole_store_is_read_whole_and_a_look_goes_on_where_the_last_one_ended() {
    let root = member(&[1, 2, 3]);
    let disk = open(root.path());
    let data = &disk.stores().unwrap().data;
    let scratch = root.path().join("staging/check");
    let mut paid = 0;
    let whole = data.check_tables(&scratch, &[], u64::MAX, &mut |bytes| paid += bytes).unwrap();
    assert!(whole.bytes > 500_000 && whole.next.is_none() && paid == whole.bytes, "{whole:?} {paid}");
    let (mut from, mut bytes, mut looks) = (Vec::new(), 0, 0);
    loop {
        let part = data.check_tables(&scratch, &from, whole.bytes / 4, &mut |_| ()).unwrap();
        bytes += part.bytes;
        looks += 1;
        match part.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!((bytes, looks, data.damage()), (whole.bytes, 4, None));
    assert!(!scratch.exists() && disk.remade().is_none());
}

#[test]
fn a_flipped_byte_is_found_and_only_the_shards_that_it_hits_come_anew() {
    let root = member(&[1, 2, 3]);
    let path = table(root.path());
    flip(&path, fs::metadata(&path).unwrap().len() as usize / 2);
    let what = found(root.path());
    assert!(what.contains("checksum mismatch") && what.contains(".sst"), "{what}");
    let disk = open(root.path());
    let remade = disk.remade().unwrap().clone();
    assert!(remade.opened && (1..=2).contains(&remade.lost.len()), "{remade:?}");
    assert_eq!(remade.kept.len() + remade.lost.len(), SHARDS as usize, "{remade:?}");
    let data = &disk.stores().unwrap().data;
    for shard in &remade.lost {
        assert_eq!(data.shard_state(*shard).unwrap(), None);
    }
    for shard in &remade.kept {
        assert_eq!(data.shard_state(*shard).unwrap().unwrap().applied_index, 9);
        for slot in range(*shard).start..range(*shard).end {
            assert!(data.view().get(&rows::data_key_in(slot, b"key0199")).unwrap().is_some(), "{slot}");
        }
        assert!(data.view().get(&rows::answer_key(*shard, 7, 1)).unwrap().is_some());
    }
    data.check_tables(&root.path().join("staging/check"), &[], u64::MAX, &mut |_| ()).unwrap();
    assert_eq!(stores_set_aside(root.path()).unwrap().len(), 1);
    drop(disk);
    let again = open(root.path());
    assert!(again.remade().is_none(), "once");
    remove_set_aside(root.path()).unwrap();
    assert_eq!(stores_set_aside(root.path()).unwrap().len(), 0);
}

#[test]
fn a_read_that_meets_damage_notes_it_too() {
    let root = member(&[1, 2, 3]);
    let path = table(root.path());
    flip(&path, fs::metadata(&path).unwrap().len() as usize / 2);
    let disk = open(root.path());
    let data = &disk.stores().unwrap().data;
    let failed = (1..=SHARDS).filter(|shard| data.replica_hash(ShardId(*shard)).is_err()).count();
    assert!((1..=2).contains(&failed), "{failed}");
    assert!(data.damage().is_some());
    drop(disk);
    assert_eq!(open(root.path()).remade().unwrap().lost.len(), failed);
}

#[test]
fn a_merge_that_meets_damage_ends_the_writes_and_the_next_start_goes_on() {
    let root = member(&[1, 2, 3]);
    let path = table(root.path());
    flip(&path, fs::metadata(&path).unwrap().len() as usize / 2);
    let disk = open(root.path());
    let data = &disk.stores().unwrap().data;
    // A newer row, so that there is something to merge the damaged table with.
    fill(data, ShardId(1), range(ShardId(1)), 200, 10);
    data.compact();
    let error = data.write_synced(&[put_state(&state(ShardId(1), range(ShardId(1)), 11))]).unwrap_err();
    assert!(error.to_string().contains("Corruption"), "{error}");
    assert!(data.damage().is_some());
    drop(disk);
    let disk = open(root.path());
    let lost = disk.remade().unwrap().lost.len();
    assert!((1..=2).contains(&lost), "{lost}");
    let data = &disk.stores().unwrap().data;
    data.compact();
    data.write_synced(&[put_state(&state(ShardId(1), range(ShardId(1)), 11))]).unwrap();
}

#[test]
fn a_store_that_does_not_open_is_set_aside_and_all_comes_anew() {
    let root = member(&[1, 2, 3]);
    let manifest = manifest(root.path());
    flip(&manifest, fs::metadata(&manifest).unwrap().len() as usize / 3);
    let disk = open(root.path());
    assert!(!disk.remade().unwrap().opened);
    assert_eq!(disk.stores().unwrap().data.shard_states().unwrap(), []);
    assert_eq!(stores_set_aside(root.path()).unwrap().len(), 1);
}

#[test]
fn a_store_that_does_not_open_and_may_hold_the_only_copies_is_left_as_it_is() {
    let root = member(&[1]);
    let manifest = manifest(root.path());
    let place = fs::metadata(&manifest).unwrap().len() as usize / 3;
    flip(&manifest, place);
    for _ in 0..2 {
        let error = Disk::open(root.path(), EngineOptions::default()).err().unwrap().to_string();
        assert!(error.contains("Corruption"), "{error}");
    }
    assert_eq!(stores_set_aside(root.path()).unwrap().len(), 0);
    flip(&manifest, place);
    assert_eq!(open(root.path()).stores().unwrap().data.shard_states().unwrap().len(), SHARDS as usize);
}

#[test]
fn too_little_room_for_a_copy_of_the_tables_is_said_with_both_numbers() {
    let root = member(&[1, 2, 3]);
    let data = root.path().join("data");
    assert_eq!(lacks_room(&data, 1 << 20).unwrap(), None);
    let lack = lacks_room(&data, 1 << 60).unwrap().unwrap();
    assert!(lack.contains("bytes of disk are needed"), "{lack}");
}

#[test]
fn what_has_no_other_copy_stays_as_it_is() {
    let root = member(&[1]);
    let path = table(root.path());
    flip(&path, fs::metadata(&path).unwrap().len() as usize / 2);
    found(root.path());
    let disk = open(root.path());
    assert!(disk.remade().is_none());
    let data = &disk.stores().unwrap().data;
    assert!(data.damage().unwrap().contains("only copy"), "{:?}", data.damage());
    assert_eq!(data.shard_states().unwrap().len(), SHARDS as usize);
    assert_eq!(stores_set_aside(root.path()).unwrap().len(), 0);
}

#[test]
fn a_swap_that_was_cut_off_is_finished_and_a_half_made_store_goes() {
    let root = member(&[1, 2, 3]);
    fs::rename(root.path().join("data"), root.path().join("data-new")).unwrap();
    assert_eq!(open(root.path()).stores().unwrap().data.shard_states().unwrap().len(), SHARDS as usize);
    // The damage was in the store that was set aside: the new one is not made anew once more.
    fs::rename(root.path().join("data"), root.path().join("data-new")).unwrap();
    damage::Damage::of(&root.path().join("data")).remember("a block");
    assert!(open(root.path()).remade().is_none());
    fs::create_dir(root.path().join("data-new")).unwrap();
    open(root.path());
    assert!(!root.path().join("data-new").exists());
}
