//! What a cut leaves, and what it does to those who are there.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::FileExt as _,
};

use granary_powercut::{Effect, Fault};
use granary_powercut::{Errno, Fate, Handle, Lie, Operation, Options, PowerCutError, PowerCutFs, SECTOR, Tear};

use crate::support::{Disk, disk, disk_with, errno, names};

const EIO: Option<i32> = Some(Errno::IO.raw_os_error());

#[test]
fn what_was_synced_survives_every_cut() {
    let Some(disk) = disk() else { return };
    let tears = [Tear::Drop, Tear::Prefix, Tear::Pieces, Tear::Mixed];
    let (mut synced, mut fate) = (Vec::new(), Fate::default());
    disk.store("log", b"");
    disk.sync_directory("");
    for seed in 0..60 {
        let mut log = OpenOptions::new().append(true).open(disk.path("log")).unwrap();
        let record = vec![seed as u8 + 1; 700 + 13 * seed as usize];
        log.write_all(&record).unwrap();
        log.sync_data().unwrap();
        synced.extend(record);
        for _ in 0..3 {
            log.write_all(&[255; 1500]).unwrap();
        }
        fate += disk.cut(tears[seed as usize % 4], seed).writes;
        let left = disk.read("log").unwrap();
        assert_eq!(left[..synced.len()], synced, "seed {seed}");
        OpenOptions::new().write(true).open(disk.path("log")).unwrap().set_len(synced.len() as u64).unwrap();
    }
    assert!(fate.kept > 10 && fate.torn > 5 && fate.lost > 40, "{fate:?}");
}

#[test]
fn what_was_not_synced_may_vanish_and_a_length_with_it() {
    let Some(disk) = disk() else { return };
    disk.store("a", b"synced");
    disk.sync_directory("");
    let file = OpenOptions::new().write(true).open(disk.path("a")).unwrap();
    file.write_all_at(b"over", 0).unwrap();
    file.set_len(100).unwrap();
    let unsynced = disk.handle.unsynced().unwrap();
    assert_eq!((unsynced.changes, unsynced.bytes, unsynced.names), (2, 4, 0));
    let report = disk.drop_unsynced();
    assert_eq!((report.files, report.writes), (1, Fate { lost: 1, ..Fate::default() }));
    assert_eq!(disk.read("a").unwrap(), b"synced");
}

/// Over seeds: a write torn, and a later write there while an earlier one is not.
#[test]
fn writes_are_torn_and_reordered_over_seeds() {
    let Some(disk) = disk() else { return };
    let (mut torn, mut reordered) = (0, 0);
    for seed in 0..40 {
        disk.store("a", b"");
        disk.sync_directory("");
        let file = OpenOptions::new().write(true).open(disk.path("a")).unwrap();
        file.write_all_at(&[1; SECTOR as usize], 0).unwrap();
        file.write_all_at(&[2; 4 * SECTOR as usize], SECTOR).unwrap();
        let report = disk.cut(Tear::Pieces, seed);
        torn += report.writes.torn;
        let left = disk.read("a").unwrap();
        reordered += u64::from(left.contains(&2) && !left.contains(&1));
        for sector in left.chunks(SECTOR as usize) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "seed {seed}: half a sector");
        }
    }
    assert!(torn > 3 && reordered > 1, "{torn} torn, {reordered} reordered");
}

#[test]
fn the_same_seed_leaves_the_same() {
    let run = || -> Option<Vec<u8>> {
        let disk = disk()?;
        let file = disk.write("a", b"");
        for number in 0..10u8 {
            file.write_all_at(&[number + 1; 3000], u64::from(number) * 2000).unwrap();
        }
        disk.sync_directory("");
        disk.cut(Tear::Pieces, 4);
        disk.read("a")
    };
    assert_eq!(run(), run());
}

#[test]
fn handles_of_before_the_cut_get_eio_also_after_the_power_is_back() {
    let Some(disk) = disk() else { return };
    disk.store("a", b"content");
    disk.sync_directory("");
    let file = OpenOptions::new().read(true).write(true).open(disk.path("a")).unwrap();
    assert_eq!(disk.read("a").unwrap(), b"content", "now it is in the kernel's cache");
    let all_fail = || {
        assert_eq!(errno(file.read_at(&mut [0; 4], 0)), EIO);
        assert_eq!(errno(file.write_at(b"x", 0)), EIO);
        assert_eq!(errno(file.sync_all()), EIO);
        assert_eq!(errno(file.metadata()), EIO);
    };
    disk.handle.cut(Tear::Drop, 0).unwrap();
    all_fail();
    assert_eq!(errno(File::open(disk.path("a"))), EIO);
    assert_eq!(errno(File::create(disk.path("b"))), EIO);
    assert!(matches!(disk.handle.used(), Err(PowerCutError::Cut(_))));
    disk.handle.remount().unwrap();
    all_fail();
    assert_eq!(disk.read("a").unwrap(), b"content");
    assert!(matches!(disk.handle.remount(), Err(PowerCutError::NotCut(_))));
}

#[test]
fn another_mount_of_the_backing_directory_shows_what_survived() {
    let Some(disk) = disk() else { return };
    disk.store("a", b"content");
    disk.sync_directory("");
    disk.store("b", b"content");
    let other = disk.path("../other");
    let again = || PowerCutFs::mount(disk.handle.backing(), &other, Options::default());
    assert!(matches!(again(), Err(PowerCutError::Store(_))), "it is in use");
    disk.handle.cut(Tear::Drop, 0).unwrap();
    let again = again().unwrap();
    assert_eq!(names(again.mountpoint()), ["a"]);
}

#[test]
fn several_disks_are_cut_at_one_moment() {
    let (Some(a), Some(b), Some(c)) = (disk(), disk(), disk()) else { return };
    let disks = [&a, &b, &c];
    for disk in disks {
        disk.store("a", b"content");
        disk.sync_directory("");
        disk.store("b", b"content");
    }
    let handles: Vec<_> = disks.iter().map(|disk| &disk.handle).collect();
    let reports = Handle::cut_all(&handles, Tear::Drop, 1).unwrap();
    assert_eq!(reports.iter().map(|report| report.names_lost).collect::<Vec<_>>(), [1, 1, 1]);
    for disk in disks {
        assert_eq!(errno(fs::read_dir(disk.path(""))), EIO);
        disk.handle.remount().unwrap();
        assert_eq!(disk.names(""), ["a"]);
    }
}

#[test]
fn a_cut_ends_the_wait_of_those_whose_sync_is_stalled_and_loses_it() {
    let Some(disk) = disk() else { return };
    disk.store("a", b"old");
    disk.sync_directory("");
    disk.handle.inject(Fault::new(&[Operation::Sync], Effect::Stall));
    let file = disk.write("a", b"new");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| file.sync_all());
        disk.until("the sync waits", || disk.handle.waiting() == 1);
        assert_eq!(disk.handle.cut(Tear::Drop, 0).unwrap().waiting, 1);
        assert_eq!(errno(waiting.join().unwrap()), EIO);
    });
    disk.handle.remount().unwrap();
    assert_eq!(disk.read("a").unwrap(), b"old");
}

/// A checker of durability: acknowledged after a sync, looked for after a cut. How many are lost?
fn lost_acknowledged(disk: &Disk) -> usize {
    let (mut acknowledged, mut lost) = (Vec::new(), 0);
    for number in 0..10 {
        let name = format!("{number}");
        disk.store(&name, name.as_bytes());
        disk.sync_directory("");
        acknowledged.push(name);
        if number % 4 == 3 {
            disk.cut(Tear::Mixed, number);
            lost += acknowledged.iter().filter(|name| disk.read(name).as_deref() != Some(name.as_bytes())).count();
        }
    }
    lost
}

#[test]
fn a_checker_catches_a_disk_that_lies_about_any_sync_and_no_honest_one() {
    for (lie, caught) in [(Lie::Never, false), (Lie::Files, true), (Lie::Directories, true), (Lie::Always, true)] {
        let Some(disk) = disk() else { return };
        disk.handle.lie(lie);
        assert_eq!(lost_acknowledged(&disk) > 0, caught, "{lie:?}");
        let lies: u64 = disk.handle.counts().values().map(|counts| counts.lies).sum();
        assert_eq!(lies > 0, caught, "{lie:?}");
    }
}

#[test]
fn unsynced_bytes_are_bounded_by_writing_them_back() {
    let Some(disk) = disk_with(Options { most_unsynced: 1 << 20, ..Options::default() }) else { return };
    disk.write("a", &vec![1; 3 << 20]);
    assert!(disk.handle.unsynced().unwrap().bytes <= 1 << 20);
    disk.sync_directory("");
    disk.drop_unsynced();
    let left = disk.read("a").unwrap();
    assert!(left.len() >= 1 << 20 && left.iter().all(|byte| *byte == 1), "{}", left.len());
}
