//! A disk of one test.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use granary_powercut::{CutReport, Handle, Options, PowerCutFs, Tear, available_or_skip};
use tempfile::TempDir;

/// Longest wait for what happens at once on a quiet machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A disk with directories of its own.
pub struct Disk {
    pub handle: Handle,
    _dir: TempDir,
}

/// A mounted disk; none where disks cannot be mounted.
pub fn disk() -> Option<Disk> {
    disk_with(Options::default())
}

pub fn disk_with(options: Options) -> Option<Disk> {
    let current = thread::current();
    if !available_or_skip(Thread::name(&current).unwrap_or("a test")) {
        return None;
    }
    let dir = TempDir::with_prefix("granary-powercut-").unwrap();
    let handle = PowerCutFs::mount(&dir.path().join("backing"), &dir.path().join("mount"), options).unwrap();
    Some(Disk { handle, _dir: dir })
}

impl Disk {
    pub fn path(&self, name: &str) -> PathBuf {
        self.handle.mountpoint().join(name)
    }

    /// Writes a file that is not synced.
    pub fn write(&self, name: &str, bytes: &[u8]) -> File {
        let mut file = File::create(self.path(name)).unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// Writes a file, and syncs it, not its directory.
    pub fn store(&self, name: &str, bytes: &[u8]) {
        self.write(name, bytes).sync_all().unwrap();
    }

    /// Syncs a directory; "" is the root.
    pub fn sync_directory(&self, name: &str) {
        File::open(self.path(name)).unwrap().sync_all().unwrap();
    }

    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        match fs::read(self.path(name)) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => panic!("{name}: {error}"),
        }
    }

    pub fn names(&self, directory: &str) -> Vec<String> {
        names(&self.path(directory))
    }

    /// Cuts the power, and turns it on again.
    pub fn cut(&self, tear: Tear, seed: u64) -> CutReport {
        let report = self.handle.cut(tear, seed).unwrap();
        self.handle.remount().unwrap();
        report
    }

    /// Waits until something holds. Where it does not, the cut lets go who waits for the disk: else the test would not end.
    pub fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !holds() {
            if Instant::now() >= deadline {
                let _ = self.handle.cut(Tear::Drop, 0);
                panic!("not within {LIMIT:?}: {what}");
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn drop_unsynced(&self) -> CutReport {
        self.cut(Tear::Drop, 0)
    }
}

pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The number of the error that something failed with.
pub fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> Option<i32> {
    result.expect_err("it should fail").raw_os_error()
}
