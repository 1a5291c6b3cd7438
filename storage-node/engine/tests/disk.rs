//! A data directory through starts, crashes and mishaps.
#![allow(clippy::unwrap_used, clippy::panic)] // The helpers are not test functions, which may do so anyway.

use std::{fs, path::Path};

use granary_engine::{Disk, DiskError, EngineError, EngineOptions, IDENTITY_FORMAT, StoreKind};
use granary_proto::storage::Identity;
use tempfile::TempDir;

fn open(path: &Path) -> Result<Disk, DiskError> {
    Disk::open(path, EngineOptions::default())
}

fn identity(disk: &Disk, node_id: u64) -> Identity {
    let uuid = disk.uuid().to_owned();
    Identity { format: IDENTITY_FORMAT, cluster_id: "a-cluster".into(), node_id, uuid }
}

/// The closed directory of a member.
fn member(node_id: u64) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut disk = open(directory.path()).unwrap();
    let identity = identity(&disk, node_id);
    disk.become_member(identity).unwrap();
    directory
}

fn refusal(directory: &TempDir) -> DiskError {
    match open(directory.path()) {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_blank_node_keeps_its_uuid_and_raises_its_incarnation_at_each_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/at/first/start");
    let first = open(&path).unwrap();
    let (uuid, incarnation) = (first.uuid().to_owned(), first.incarnation());
    assert!(first.stores().is_none());
    drop(first);
    let second = open(&path).unwrap();
    assert_eq!((second.uuid(), second.incarnation()), (uuid.as_str(), incarnation + 1));
}

#[test]
fn a_member_is_the_same_member_after_every_restart() {
    let directory = member(3);
    for incarnation in 2..5 {
        let disk = open(directory.path()).unwrap();
        assert_eq!(disk.stores().unwrap().identity, identity(&disk, 3));
        assert_eq!(disk.incarnation(), incarnation);
    }
}

#[test]
fn a_store_of_logs_from_an_older_copy_of_the_same_disk_is_refused_for_it_has_forgotten_votes() {
    let directory = member(1);
    let (raft, old) = (directory.path().join("raft"), directory.path().join("old"));
    copy(&raft, &old);
    drop(open(directory.path()).unwrap());
    let newer = directory.path().join("newer");
    fs::rename(&raft, &newer).unwrap();
    copy(&old, &raft);
    let error = refusal(&directory);
    assert!(error.to_string().contains("older copy"), "{error}");
    fs::remove_dir_all(&raft).unwrap();
    fs::rename(&newer, &raft).unwrap();
    assert_eq!(open(directory.path()).unwrap().incarnation(), 3, "what was refused is as it was");
}

#[test]
fn a_second_open_of_one_directory_is_refused_and_names_the_holder() {
    let directory = member(1);
    let disk = open(directory.path()).unwrap();
    let error = refusal(&directory);
    assert!(matches!(error, DiskError::InUse { .. }));
    assert!(error.to_string().ends_with(&format!("(process {})", std::process::id())), "{error}");
    drop(disk);
    open(directory.path()).unwrap();
}

#[test]
fn a_store_that_outlives_the_lock_for_a_moment_is_told_from_one_that_cannot_be_used() {
    let directory = member(2);
    let before = open(directory.path()).unwrap();
    let stores = before.stores().unwrap().clone();
    drop(before);
    let refused = refusal(&directory);
    assert!(refused.is_store_held(), "{refused}");
    drop(stores);
    assert_eq!(open(directory.path()).unwrap().incarnation(), 3, "a start that came too early counts for nothing");
    fs::remove_file(directory.path().join("raft/CURRENT")).unwrap();
    assert!(!refusal(&directory).is_store_held());
}

#[test]
fn becoming_the_same_member_again_is_fine_and_another_is_refused() {
    let directory = member(1);
    let mut disk = open(directory.path()).unwrap();
    let (same, other) = (identity(&disk, 1), identity(&disk, 2));
    disk.become_member(same).unwrap();
    let error = disk.become_member(other).err().unwrap();
    assert!(error.to_string().contains("cannot become node 2"), "{error}");
    assert!(disk.stores().is_some());
}

#[test]
fn an_identity_that_is_not_this_disks_is_refused_with_its_field() {
    let directory = tempfile::tempdir().unwrap();
    let mut disk = open(directory.path()).unwrap();
    let good = identity(&disk, 1);
    for (bad, named) in [
        (Identity { uuid: "another".into(), ..good.clone() }, "uuid is \"another\""),
        (Identity { node_id: 0, ..good.clone() }, "node_id is 0"),
        (Identity { cluster_id: String::new(), ..good.clone() }, "cluster_id is empty"),
        (Identity { format: 9, ..good.clone() }, "format is 9"),
    ] {
        let error = disk.become_member(bad).err().unwrap().to_string();
        assert!(error.contains(named), "{error}");
    }
    disk.become_member(good).unwrap();
}

#[test]
fn a_crash_while_joining_leaves_a_blank_node_with_the_same_uuid_that_can_join() {
    // With the marker: nothing made yet, one store made, both made.
    for stores in [&[][..], &["raft"][..], &["raft", "data"][..]] {
        let directory = member(1);
        let root = directory.path();
        fs::rename(root.join("identity"), root.join("joining")).unwrap();
        for lost in ["raft", "data"].iter().filter(|name| !stores.contains(name)) {
            fs::remove_dir_all(root.join(lost)).unwrap();
        }
        let uuid = {
            let mut disk = open(root).unwrap();
            assert!(disk.stores().is_none());
            assert!(!root.join("raft").exists() && !root.join("data").exists());
            let identity = identity(&disk, 8);
            disk.become_member(identity.clone()).unwrap();
            identity.uuid
        };
        let disk = open(root).unwrap();
        assert_eq!((disk.uuid(), disk.stores().unwrap().identity.node_id), (uuid.as_str(), 8));
    }
}

#[test]
fn the_map_that_comes_with_the_identity_is_there_as_soon_as_that_is() {
    let joined = |directory: &TempDir, map| {
        let mut disk = open(directory.path()).unwrap();
        let identity = identity(&disk, 8);
        disk.become_member_with(identity, map).unwrap().raft.syncs()
    };
    let directory = tempfile::tempdir().unwrap();
    let without = joined(&tempfile::tempdir().unwrap(), None);
    assert_eq!(joined(&directory, Some("map".into())), without + 1, "the map was not synced");
    let disk = open(directory.path()).unwrap();
    assert_eq!(disk.stores().unwrap().raft.recover().unwrap().map.as_deref(), Some(&b"map"[..]));
}

#[test]
fn a_crash_behind_the_identity_file_leaves_a_member() {
    let directory = member(1);
    let joining = directory.path().join("joining");
    fs::copy(directory.path().join("identity"), &joining).unwrap();
    assert!(open(directory.path()).unwrap().stores().is_some());
    assert!(!joining.exists());
}

#[test]
fn a_member_that_lost_a_part_of_its_directory_is_refused_with_the_parts_name() {
    for lost in ["raft", "data", "incarnation", "blank-uuid", "identity"] {
        let directory = member(1);
        let path = directory.path().join(lost);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap()
        } else {
            fs::remove_file(&path).unwrap()
        }
        match refusal(&directory) {
            DiskError::Missing { missing, .. } => assert_eq!(missing, path),
            other => panic!("{lost}: {other}"),
        }
        assert!(!path.exists());
    }
}

#[test]
fn an_emptied_store_directory_is_refused() {
    for name in ["raft", "data"] {
        let directory = member(1);
        fs::remove_dir_all(directory.path().join(name)).unwrap();
        fs::create_dir(directory.path().join(name)).unwrap();
        let error = refusal(&directory);
        assert!(matches!(error, DiskError::Store { .. }), "{error}");
    }
}

#[test]
fn a_torn_or_edited_file_is_refused_and_named() {
    for name in ["identity", "incarnation", "blank-uuid"] {
        let directory = member(1);
        let path = directory.path().join(name);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let error = refusal(&directory);
            assert!(matches!(&error, DiskError::Torn { path: found, .. } if *found == path), "{length}: {error}");
        }
        for byte in 0..whole.len() {
            let mut edited = whole.clone();
            edited[byte] ^= 0x10;
            fs::write(&path, edited).unwrap();
            let error = refusal(&directory);
            let named = error.to_string().contains(name);
            assert!(named && matches!(error, DiskError::Torn { .. } | DiskError::Format { .. }), "{byte}: {error}");
        }
        fs::write(&path, whole).unwrap();
        assert_eq!(open(directory.path()).unwrap().incarnation(), 2);
    }
}

#[test]
fn a_store_of_another_member_is_refused() {
    for (name, kind) in [("raft", StoreKind::Raft), ("data", StoreKind::Data)] {
        let [one, two] = [member(1), member(2)];
        fs::remove_dir_all(one.path().join(name)).unwrap();
        copy(&two.path().join(name), &one.path().join(name));
        match refusal(&one) {
            DiskError::Store { source: EngineError::Identity { store, found, expected }, .. } => {
                assert_eq!(store, kind);
                assert!(found.starts_with("node 2 ") && expected.starts_with("node 1 "));
            }
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn swapped_stores_are_refused() {
    let directory = member(1);
    let [raft, data, aside] = ["raft", "data", "aside"].map(|name| directory.path().join(name));
    fs::rename(&raft, &aside).unwrap();
    fs::rename(&data, &raft).unwrap();
    fs::rename(&aside, &data).unwrap();
    let error = refusal(&directory);
    assert!(error.to_string().contains("raft/ is corrupt: its header"), "{error}");
}

#[test]
fn an_identity_file_of_another_member_is_refused() {
    let [one, two] = [member(1), member(2)];
    fs::copy(two.path().join("identity"), one.path().join("identity")).unwrap();
    let error = refusal(&one);
    assert!(error.to_string().contains("identity: uuid is"), "{error}");
}

#[test]
fn a_refused_directory_stays_as_it_is_and_opens_once_it_is_mended() {
    let directory = member(1);
    let [data, aside] = ["data", "aside"].map(|name| directory.path().join(name));
    fs::rename(&data, &aside).unwrap();
    refusal(&directory);
    refusal(&directory);
    fs::rename(&aside, &data).unwrap();
    let disk = open(directory.path()).unwrap();
    assert_eq!(disk.incarnation(), 2);
    assert!(disk.stores().is_some());
}
