//! Errors, delays and stalls on command; every test counts what was injected.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::FileExt as _,
    time::{Duration, Instant},
};

use granary_powercut::{Effect, Errno, Fault, Glob, Operation, Options};

use crate::support::{disk, disk_with, errno};

const EIO: Option<i32> = Some(Errno::IO.raw_os_error());

#[test]
fn the_nth_sync_of_a_path_fails_and_loses_what_it_should_have_stored() {
    let Some(disk) = disk() else { return };
    fs::create_dir(disk.path("raft")).unwrap();
    let rule = Fault::new(&[Operation::Sync], Effect::Fail(Errno::IO)).on("raft/*.log").from_the(2).times(1);
    let rule = disk.handle.inject(rule);
    let other = disk.write("raft/other", b"x");
    let mut log = disk.write("raft/1.log", b"one ");
    log.sync_data().unwrap();
    log.write_all(b"two ").unwrap();
    other.sync_all().unwrap();
    assert_eq!(errno(log.sync_data()), EIO);
    log.write_all(b"three").unwrap();
    log.sync_data().expect("Linux says so: it has forgotten the failed pages");
    assert_eq!(disk.read("raft/1.log").unwrap(), b"one two three", "readable as long as the power is on");
    disk.sync_directory("raft");
    disk.sync_directory("");
    assert_eq!(disk.handle.injected(rule), 1);
    disk.drop_unsynced();
    assert_eq!(disk.read("raft/1.log").unwrap(), b"one \0\0\0\0three");
}

#[test]
fn reads_and_writes_and_syncs_of_directories_fail_on_command() {
    let Some(disk) = disk() else { return };
    disk.store("a", b"content");
    let file = OpenOptions::new().read(true).write(true).open(disk.path("a")).unwrap();
    let hits = |operation, fails: &dyn Fn()| {
        let rule = disk.handle.inject(Fault::new(&[operation], Effect::Fail(Errno::IO)));
        fails();
        assert!(disk.handle.withdraw(rule) >= 1, "{operation:?}");
    };
    hits(Operation::Write, &|| assert_eq!(errno(file.write_at(b"x", 0)), EIO));
    hits(Operation::Resize, &|| assert_eq!(errno(file.set_len(1)), EIO));
    hits(Operation::SyncDirectory, &|| assert_eq!(errno(File::open(disk.path("")).unwrap().sync_all()), EIO));
    hits(Operation::Read, &|| {
        disk.handle.forget_caches().unwrap();
        assert_eq!(errno(file.read_at(&mut [0; 4], 0)), EIO);
    });
    assert_eq!(disk.read("a").unwrap(), b"content");
    let failed: u64 = disk.handle.counts().values().map(|counts| counts.failed).sum();
    assert!(failed >= 4, "{failed}");
}

#[test]
fn a_full_disk_on_command() {
    let Some(disk) = disk() else { return };
    let rule = disk.handle.inject(Fault::new(&[Operation::Write], Effect::Fail(Errno::NOSPC)).times(1));
    let file = disk.write("a", b"");
    assert_eq!(errno(file.write_at(b"x", 0)), Some(Errno::NOSPC.raw_os_error()));
    file.write_at(b"x", 0).unwrap();
    assert_eq!(disk.handle.withdraw(rule), 1);
}

#[test]
fn delayed_syncs_take_so_long_and_hold_up_nothing_else() {
    let Some(disk) = disk() else { return };
    let (least, most) = (Duration::from_millis(30), Duration::from_millis(60));
    let rule = disk.handle.inject(Fault::new(&[Operation::Sync], Effect::Delay(least, most)).on("slow"));
    let slow = disk.write("slow", b"x");
    for _ in 0..3 {
        let started = Instant::now();
        slow.sync_all().unwrap();
        assert!(started.elapsed() >= least, "{:?}", started.elapsed());
    }
    disk.store("fast", b"x");
    assert_eq!(disk.handle.injected(rule), 3);
    let delayed: u64 = disk.handle.counts().values().map(|counts| counts.delayed).sum();
    assert_eq!(delayed, 3);
}

#[test]
fn more_stalled_syncs_than_threads_hold_up_nothing_else_and_end_when_withdrawn() {
    let Some(disk) = disk_with(Options { threads: 2, ..Options::default() }) else { return };
    let rule = disk.handle.inject(Fault::new(&[Operation::Sync], Effect::Stall).on("slow/**"));
    fs::create_dir(disk.path("slow")).unwrap();
    let files: Vec<_> = (0..8).map(|number| disk.write(&format!("slow/{number}"), b"x")).collect();
    std::thread::scope(|scope| {
        let syncs: Vec<_> = files.iter().map(|file| scope.spawn(|| file.sync_all())).collect();
        disk.until("all wait", || disk.handle.waiting() == 8);
        disk.store("fast", b"content");
        assert_eq!(disk.read("fast").unwrap(), b"content");
        assert!(syncs.iter().all(|sync| !sync.is_finished()));
        assert_eq!(disk.handle.withdraw(rule), 8);
        syncs.into_iter().for_each(|sync| sync.join().unwrap().unwrap());
    });
    assert_eq!(disk.handle.waiting(), 0);
}

#[test]
fn a_disk_that_hangs_as_a_whole_goes_on_where_it_was() {
    let Some(disk) = disk() else { return };
    for name in ["a", "b"] {
        disk.store(name, b"content");
    }
    let (a, b) = (OpenOptions::new().write(true).open(disk.path("a")).unwrap(), File::open(disk.path("b")).unwrap());
    let rule = disk.handle.inject(Fault::new(&Operation::ALL, Effect::Stall));
    let mut read = [0; 7];
    std::thread::scope(|scope| {
        let written = scope.spawn(|| a.write_all_at(b"CON", 0));
        let read = scope.spawn(|| b.read_exact_at(&mut read, 0));
        disk.until("both wait", || disk.handle.waiting() == 2);
        disk.handle.withdraw(rule);
        written.join().unwrap().unwrap();
        read.join().unwrap().unwrap();
    });
    assert_eq!((&read, disk.read("a").unwrap()), (b"content", b"CONtent".to_vec()));
}

#[test]
fn what_is_done_is_counted_by_class() {
    let classes = vec![("log".to_owned(), Glob::new("**/*.log"))];
    let Some(disk) = disk_with(Options { classes, ..Options::default() }) else { return };
    let mut log = disk.write("1.log", b"abc");
    log.write_all(b"de").unwrap();
    log.sync_all().unwrap();
    disk.store("other", b"x");
    disk.sync_directory("");
    let counts = disk.handle.counts();
    let (log, other) = (counts["log"], counts["other"]);
    assert_eq!((log.writes, log.written_bytes, log.syncs, log.synced_bytes), (2, 5, 1, 5));
    assert_eq!((other.writes, other.syncs, other.directory_syncs), (1, 1, 1));
}
