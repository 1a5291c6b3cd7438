//! Mounts come and go.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use granary_powercut::{Options, PowerCutFs, available_or_skip, unmount_left_behind};
use tempfile::TempDir;

use crate::support::{disk, errno, names};

fn mounted(at: &std::path::Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == at.to_str())
}

#[test]
fn an_unmount_writes_everything_back_as_any_does() {
    let Some(disk) = disk() else { return };
    let dir = TempDir::new().unwrap();
    let (backing, at) = (dir.path().join("backing"), dir.path().join("mount"));
    let mount = || PowerCutFs::mount(&backing, &at, Options::default()).unwrap();
    let handle = mount();
    fs::write(at.join("a"), b"content").unwrap();
    handle.unmount().unwrap();
    assert!(!mounted(&at) && names(&at).is_empty());
    let handle = mount();
    assert_eq!(fs::read(at.join("a")).unwrap(), b"content");
    drop(handle);
    drop(disk);
}

#[test]
fn dropping_unmounts_also_with_open_files() {
    let Some(disk) = disk() else { return };
    let (at, file) = (disk.handle.mountpoint().to_owned(), disk.write("a", b"content"));
    assert!(mounted(&at));
    drop(disk);
    assert!(!mounted(&at));
    assert!(errno(file.sync_all()).is_some());
}

#[test]
fn a_killed_process_leaves_its_mount_which_is_found_and_unmounted() {
    if !available_or_skip("a killed process leaves its mount") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let (backing, at) = (dir.path().join("backing"), dir.path().join("mount"));
    let mut program = Command::new(env!("CARGO_BIN_EXE_granary-powercut"));
    let mut process =
        program.arg("mount").args([&backing, &at]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.starts_with("mounted at"), "{line}");
    fs::write(at.join("a"), b"content").unwrap();
    fs::File::open(&at).unwrap().sync_all().unwrap();
    process.stdin.as_mut().unwrap().write_all(b"unsynced\n").unwrap();
    line.clear();
    said.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "Unsynced { changes: 1, bytes: 7, names: 0 }");
    assert_eq!(unmount_left_behind(dir.path()).unwrap(), Vec::<std::path::PathBuf>::new(), "it lives");
    process.kill().unwrap();
    process.wait().unwrap();
    // Another test's mounting may have been faster.
    let found = unmount_left_behind(dir.path()).unwrap();
    assert!(found.is_empty() || found == [at.clone()], "{found:?}");
    assert!(!mounted(&at));
    let again = PowerCutFs::mount(&backing, &at, Options::default()).unwrap();
    assert_eq!(fs::read(at.join("a")).unwrap(), b"", "its name was synced, its bytes were not");
    drop(again);
}
