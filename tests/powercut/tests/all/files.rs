//! What programs may expect of files, RocksDB among them.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    os::{fd::AsFd as _, unix::fs::FileExt as _},
    process::Command,
};

use granary_powercut::Options;
use rustix::{
    fs::{FallocateFlags, FlockOperation, fallocate, flock},
    io::Errno,
};

use crate::support::{disk, disk_with, errno};

#[test]
fn what_is_written_is_read_before_and_after_a_sync_and_after_a_rename() {
    let Some(disk) = disk() else { return };
    let content: Vec<u8> = (0..3_000_000u32).map(|number| number as u8 ^ (number >> 8) as u8).collect();
    let file = disk.write("a", &content);
    assert_eq!(disk.read("a").unwrap(), content);
    file.sync_data().unwrap();
    assert_eq!(disk.read("a").unwrap(), content);
    fs::rename(disk.path("a"), disk.path("b")).unwrap();
    assert_eq!((disk.read("a"), disk.read("b").unwrap()), (None, content));
}

#[test]
fn writes_in_the_middle_appends_and_lengths_are_as_on_any_file_system() {
    let Some(disk) = disk() else { return };
    disk.store("a", b"0123456789");
    let mut file = OpenOptions::new().read(true).write(true).open(disk.path("a")).unwrap();
    file.write_all_at(b"ab", 3).unwrap();
    file.set_len(7).unwrap();
    file.set_len(9).unwrap();
    assert_eq!(disk.read("a").unwrap(), b"012ab56\0\0");
    let mut appending = OpenOptions::new().append(true).open(disk.path("a")).unwrap();
    appending.write_all(b"end").unwrap();
    file.seek(SeekFrom::Start(5)).unwrap();
    let mut rest = String::new();
    file.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "56\0\0end");
    assert_eq!(file.metadata().unwrap().len(), 12);
    assert_eq!(File::create(disk.path("a")).unwrap().metadata().unwrap().len(), 0);
}

#[test]
fn a_file_is_read_after_its_last_name_is_gone() {
    let Some(disk) = disk() else { return };
    disk.store("a", b"content");
    let file = File::open(disk.path("a")).unwrap();
    fs::remove_file(disk.path("a")).unwrap();
    disk.sync_directory("");
    let mut bytes = [0; 7];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"content");
    assert_eq!(disk.read("a"), None);
}

#[test]
fn space_is_allocated_with_and_without_a_new_length_and_else_refused() {
    let Some(disk) = disk() else { return };
    let file = disk.write("a", b"ab");
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 1 << 20).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 2);
    assert_eq!(disk.handle.used().unwrap(), 1 << 20);
    fallocate(&file, FallocateFlags::empty(), 0, 10).unwrap();
    assert_eq!(disk.read("a").unwrap(), b"ab\0\0\0\0\0\0\0\0");
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    assert_eq!(fallocate(&file, punch, 0, 1), Err(Errno::OPNOTSUPP));
    file.set_len(10).unwrap();
    assert_eq!(disk.handle.used().unwrap(), 4096, "the end of what was allocated is given back");
}

#[test]
fn locks_exclude_each_other() {
    let Some(disk) = disk() else { return };
    let (one, other) = (disk.write("LOCK", b""), File::open(disk.path("LOCK")).unwrap());
    flock(one.as_fd(), FlockOperation::NonBlockingLockExclusive).unwrap();
    assert_eq!(flock(other.as_fd(), FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK));
    drop(one);
    flock(other.as_fd(), FlockOperation::NonBlockingLockExclusive).unwrap();
}

/// What a program maps is its pages: the kernel reads them by itself.
#[test]
fn a_program_on_it_runs() {
    let Some(disk) = disk() else { return };
    fs::copy("/bin/true", disk.path("program")).unwrap();
    disk.handle.forget_caches().unwrap();
    let run = || Command::new(disk.path("program")).status();
    // Another test's child may hold the handle that wrote it, until it is a program of its own.
    disk.until("the program may run", || !run().is_err_and(|error| error.kind() == ErrorKind::ExecutableFileBusy));
    assert!(run().unwrap().success());
}

#[test]
fn with_real_syncs_the_same_holds() {
    let Some(disk) = disk_with(Options { real_sync: true, ..Options::default() }) else { return };
    disk.store("a", b"content");
    disk.sync_directory("");
    disk.write("b", b"content");
    disk.drop_unsynced();
    assert_eq!((disk.read("a").unwrap(), disk.read("b")), (b"content".to_vec(), None));
}

#[test]
fn many_entries_are_listed_while_they_are_removed() {
    let Some(disk) = disk() else { return };
    fs::create_dir(disk.path("d")).unwrap();
    for number in 0..2000 {
        disk.write(&format!("d/{number:04}"), b"");
    }
    assert_eq!(disk.names("d").len(), 2000);
    fs::remove_dir_all(disk.path("d")).unwrap();
    assert!(disk.names("").is_empty());
}

#[test]
fn names_are_refused_as_posix_says() {
    let Some(disk) = disk() else { return };
    fs::create_dir_all(disk.path("d/e")).unwrap();
    disk.write("f", b"");
    assert_eq!(errno(fs::create_dir(disk.path("d"))), Some(number(Errno::EXIST)));
    assert_eq!(errno(fs::remove_dir(disk.path("d"))), Some(number(Errno::NOTEMPTY)));
    assert_eq!(errno(fs::rename(disk.path("d"), disk.path("f"))), Some(number(Errno::NOTDIR)));
    assert_eq!(errno(fs::rename(disk.path("f"), disk.path("d"))), Some(number(Errno::ISDIR)));
    assert_eq!(errno(fs::hard_link(disk.path("f"), disk.path("d"))), Some(number(Errno::EXIST)));
    assert_eq!(errno(File::open(disk.path("d/none"))), Some(number(Errno::NOENT)));
    assert_eq!(errno(OpenOptions::new().create_new(true).write(true).open(disk.path("f"))), Some(number(Errno::EXIST)));
}

fn number(errno: Errno) -> i32 {
    errno.raw_os_error()
}
