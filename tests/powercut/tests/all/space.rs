//! A disk of a size.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    os::unix::fs::FileExt as _,
};

use granary_powercut::Options;
use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::support::{Disk, disk_with};

const MIB: u64 = 1 << 20;

fn small() -> Option<Disk> {
    disk_with(Options { capacity: Some(MIB), ..Options::default() })
}

fn free(disk: &Disk) -> u64 {
    let stat = statvfs(disk.handle.mountpoint()).unwrap();
    assert_eq!(stat.f_blocks * stat.f_frsize, disk_size(disk));
    stat.f_bavail * stat.f_frsize
}

fn disk_size(disk: &Disk) -> u64 {
    disk.handle.used().unwrap() + free_by_handle(disk)
}

fn free_by_handle(disk: &Disk) -> u64 {
    let stat = statvfs(disk.handle.mountpoint()).unwrap();
    stat.f_bfree * stat.f_frsize
}

#[test]
fn a_file_system_gets_full_says_so_and_takes_more_after_something_was_removed() {
    let Some(disk) = small() else { return };
    assert_eq!(free(&disk), MIB);
    let mut file = disk.write("a", b"");
    let mut written = 0;
    let full = loop {
        match file.write(&[1; 100_000]) {
            Ok(bytes) => written += bytes as u64,
            Err(error) => break error.kind(),
        }
    };
    assert_eq!((full, written, free(&disk)), (ErrorKind::StorageFull, MIB, 0), "to the last byte");
    file.sync_all().expect("what is written has its place");
    assert_eq!(file.write_at(&[2; 100], 0).unwrap(), 100, "what has its place can be written over");
    assert_eq!(disk.write("b", b"").write(b"x").unwrap_err().kind(), ErrorKind::StorageFull);
    drop(file);
    fs::remove_file(disk.path("a")).unwrap();
    assert_eq!(free(&disk), MIB);
    disk.store("b", &[1; 1000]);
    assert_eq!(free(&disk), MIB - 4096);
    let full: u64 = disk.handle.counts().values().map(|counts| counts.full).sum();
    assert!(full >= 3, "{full}");
}

#[test]
fn an_open_file_without_a_name_takes_space_until_it_is_closed() {
    let Some(disk) = small() else { return };
    let file = disk.write("a", &[1; 50_000]);
    fs::remove_file(disk.path("a")).unwrap();
    assert!(free(&disk) < MIB);
    drop(file);
    disk.until("the kernel has told that it is closed", || free(&disk) == MIB);
}

#[test]
fn lengths_and_allocations_take_space_and_the_size_may_change() {
    let Some(disk) = small() else { return };
    let file = disk.write("a", b"");
    assert!(fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 2 * MIB).is_err());
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, MIB / 2).unwrap();
    assert_eq!(free(&disk), MIB / 2);
    file.write_all_at(&[1; 1000], 0).unwrap();
    assert_eq!(free(&disk), MIB / 2, "what was allocated is there to be written");
    assert_eq!(file.set_len(2 * MIB).unwrap_err().kind(), ErrorKind::StorageFull);
    disk.handle.set_capacity(Some(4 * MIB));
    file.set_len(2 * MIB).unwrap();
    assert_eq!(free(&disk), 2 * MIB);
    disk.handle.set_capacity(Some(MIB));
    let stat = statvfs(disk.handle.mountpoint()).unwrap();
    assert_eq!((stat.f_blocks * stat.f_frsize, stat.f_bavail), (MIB, 0));
    disk.handle.set_capacity(None);
    assert!(statvfs(disk.handle.mountpoint()).unwrap().f_bavail > 0);
}

#[test]
fn after_a_cut_the_space_is_that_of_what_survived() {
    let Some(disk) = small() else { return };
    disk.store("kept", &[1; 5000]);
    disk.sync_directory("");
    disk.store("lost", &[1; 50_000]);
    disk.drop_unsynced();
    assert_eq!(free(&disk), MIB - 8192);
}
