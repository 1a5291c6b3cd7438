//! When names are durable.

use std::fs;

use granary_powercut::Tear;

use crate::support::disk;

#[test]
fn a_synced_file_in_an_unsynced_directory_vanishes() {
    let Some(disk) = disk() else { return };
    disk.store("a", b"content");
    let report = disk.drop_unsynced();
    assert_eq!((report.names_lost, report.names_kept), (1, 0));
    assert_eq!(disk.read("a"), None);
}

#[test]
fn a_file_whose_directory_alone_was_synced_is_empty() {
    let Some(disk) = disk() else { return };
    disk.write("a", b"content");
    disk.sync_directory("");
    disk.drop_unsynced();
    assert_eq!(disk.read("a").unwrap(), b"");
}

#[test]
fn a_directory_vanishes_with_all_in_it_unless_its_parent_was_synced() {
    let Some(disk) = disk() else { return };
    for name in ["lost", "kept"] {
        fs::create_dir(disk.path(name)).unwrap();
        disk.store(&format!("{name}/a"), b"content");
        disk.sync_directory(name);
        if name == "lost" {
            continue;
        }
        fs::rename(disk.path("lost"), disk.path("kept/lost")).unwrap();
        disk.sync_directory("kept");
    }
    disk.drop_unsynced();
    assert_eq!(disk.names(""), Vec::<String>::new(), "neither has a durable name below the root");
    fs::create_dir(disk.path("kept")).unwrap();
    disk.store("kept/a", b"content");
    disk.sync_directory("kept");
    disk.sync_directory("");
    disk.drop_unsynced();
    assert_eq!(disk.read("kept/a").unwrap(), b"content");
}

#[test]
fn a_rename_is_durable_with_its_directory_and_never_half() {
    let Some(disk) = disk() else { return };
    disk.store("file", b"old");
    disk.sync_directory("");
    disk.store("file.new", b"new");
    fs::rename(disk.path("file.new"), disk.path("file")).unwrap();
    assert_eq!(disk.read("file").unwrap(), b"new");
    disk.drop_unsynced();
    assert_eq!((disk.names(""), disk.read("file").unwrap()), (vec!["file".to_owned()], b"old".to_vec()));

    disk.store("file.new", b"new");
    fs::rename(disk.path("file.new"), disk.path("file")).unwrap();
    disk.sync_directory("");
    disk.drop_unsynced();
    assert_eq!((disk.names(""), disk.read("file").unwrap()), (vec!["file".to_owned()], b"new".to_vec()));
}

#[test]
fn a_rename_without_a_sync_of_the_file_may_leave_it_empty() {
    let Some(disk) = disk() else { return };
    disk.store("file", b"old");
    disk.sync_directory("");
    disk.write("file.new", b"new");
    fs::rename(disk.path("file.new"), disk.path("file")).unwrap();
    disk.sync_directory("");
    disk.drop_unsynced();
    assert_eq!(disk.read("file").unwrap(), b"", "the classic mistake shows");
}

#[test]
fn a_rename_over_two_directories_is_whole_in_every_cut() {
    let Some(disk) = disk() else { return };
    let mut moved = 0;
    for seed in 0..30 {
        let _ = (fs::remove_dir_all(disk.path("from")), fs::remove_dir_all(disk.path("to")));
        for name in ["from", "to"] {
            fs::create_dir(disk.path(name)).unwrap();
        }
        disk.store("from/a", b"content");
        for name in ["from", "to", ""] {
            disk.sync_directory(name);
        }
        fs::rename(disk.path("from/a"), disk.path("to/b")).unwrap();
        disk.cut(Tear::Mixed, seed);
        let (old, new) = (disk.read("from/a"), disk.read("to/b"));
        assert!(old.is_some() != new.is_some(), "seed {seed}: {old:?} {new:?}");
        moved += usize::from(new.is_some());
    }
    assert!((1..30).contains(&moved), "{moved} of 30 survived");
}

#[test]
fn a_removed_file_comes_back_unless_its_directory_was_synced() {
    let Some(disk) = disk() else { return };
    for name in ["a", "b"] {
        disk.store(name, b"content");
    }
    disk.sync_directory("");
    fs::remove_file(disk.path("a")).unwrap();
    disk.drop_unsynced();
    assert_eq!(disk.read("a").unwrap(), b"content");
    fs::remove_file(disk.path("a")).unwrap();
    disk.sync_directory("");
    disk.drop_unsynced();
    assert_eq!(disk.names(""), ["b"]);
}

#[test]
fn a_second_name_is_durable_with_its_directory() {
    let Some(disk) = disk() else { return };
    disk.store("a", b"content");
    disk.sync_directory("");
    fs::hard_link(disk.path("a"), disk.path("b")).unwrap();
    disk.drop_unsynced();
    assert_eq!(disk.names(""), ["a"]);
    fs::hard_link(disk.path("a"), disk.path("b")).unwrap();
    disk.sync_directory("");
    fs::remove_file(disk.path("a")).unwrap();
    disk.sync_directory("");
    disk.drop_unsynced();
    assert_eq!((disk.names(""), disk.read("b").unwrap()), (vec!["b".to_owned()], b"content".to_vec()));
}

#[test]
fn names_of_any_bytes_survive() {
    let Some(disk) = disk() else { return };
    let names = ["with space", "per%cent", "new\nline", "größe", "#"];
    for name in names {
        disk.store(name, name.as_bytes());
    }
    disk.sync_directory("");
    disk.drop_unsynced();
    for name in names {
        assert_eq!(disk.read(name).unwrap(), name.as_bytes());
    }
}
