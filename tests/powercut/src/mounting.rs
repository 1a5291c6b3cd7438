//! Mounts and unmounts, and finds the mounts that killed processes left behind. Needs root, and no fusermount.

use std::{
    env,
    ffi::{CString, OsString},
    fs,
    io::{self, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
    process,
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    mount::{MountFlags, UnmountFlags, mount, unmount},
};

/// Type of the file system, as `mount` tells it.
const TYPE: &str = "fuse.granary-powercut";

/// Whether file systems of this crate can be mounted here: root, and `/dev/fuse`. `Err` says why not.
///
/// # Errors
/// What is missing.
pub fn available() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("it needs root, to mount".into());
    }
    open_device().map(drop).map_err(|error| format!("it needs /dev/fuse: {error}"))
}

/// Whether a test that needs mounts can run. Where it cannot, it is skipped aloud.
///
/// # Panics
/// It cannot, and the environment says CI=true: there nothing may be skipped.
#[expect(clippy::panic, reason = "for tests: a missing prerequisite in CI has to fail them")]
pub fn available_or_skip(test: &str) -> bool {
    match available() {
        Ok(()) => true,
        Err(why) if env::var("CI").is_ok_and(|value| value == "true") => panic!("{test} cannot run here: {why}"),
        Err(why) => {
            // Not with a macro: tests that pass swallow what those print. In one piece: tests run beside each other.
            let _ = io::stderr().write_all(format!("SKIPPED: {test}: {why}\n").as_bytes());
            false
        }
    }
}

fn open_device() -> io::Result<OwnedFd> {
    Ok(open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// Mounts at a directory, and gives the device to serve it with. The mount's source names this process, so that others
/// can tell whether it lives.
pub(crate) fn attach(mountpoint: &Path) -> io::Result<OwnedFd> {
    let device = open_device()?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    mount(owner(process::id()).to_string(), mountpoint, TYPE, flags, CString::new(options)?.as_c_str())?;
    Ok(device)
}

/// Takes a mount out of sight. Handles in it go on.
pub(crate) fn detach(mountpoint: &Path) -> io::Result<()> {
    Ok(unmount(mountpoint, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
}

/// Unmounts; where handles are open in it, these get errors from now on.
pub(crate) fn end(mountpoint: &Path) -> io::Result<()> {
    if unmount(mountpoint, UnmountFlags::NOFOLLOW).is_ok() {
        return Ok(());
    }
    abandon(mountpoint)
}

/// Ends the connection to the kernel, which ends the waits of whoever asked, and unmounts.
fn abandon(mountpoint: &Path) -> io::Result<()> {
    let _ = unmount(mountpoint, UnmountFlags::FORCE | UnmountFlags::NOFOLLOW);
    detach(mountpoint)
}

/// A process: its id may come again, its id with its start does not. Both are numbers of one namespace of processes only.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    pid: u32,
    start: String,
    namespace: u64,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "granary-powercut:{}:{}:{}", self.pid, self.start, self.namespace)
    }
}

fn owner(pid: u32) -> Owner {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    Owner { pid, start: start_in(&stat).unwrap_or_default(), namespace: namespace() }
}

/// The namespace of processes that this one is in.
fn namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino())
}

/// When a process started, of its `/proc/PID/stat`: the 22nd field; the second is a name in brackets, with anything in it,
/// and the third its state. One that was killed and waits for its own requests (Z) serves nobody any more.
fn start_in(stat: &str) -> Option<String> {
    let fields: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let gone = ["Z", "X"].contains(fields.first()?);
    if gone { None } else { fields.get(19).map(|start| (*start).to_owned()) }
}

fn owner_in(source: &str) -> Option<Owner> {
    let mut fields = source.strip_prefix("granary-powercut:")?.split(':');
    let (pid, start, namespace) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Owner { pid: pid.parse().ok()?, start: start.to_owned(), namespace: namespace.parse().ok()? })
}

/// Mounts of this crate in `/proc/self/mountinfo`, with their owners.
fn mounts_in(mountinfo: &str) -> Vec<(PathBuf, Owner)> {
    let parse = |line: &str| {
        let (place, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let (kind, source) = (kind.next()?, kind.next()?);
        let mountpoint = unescape(place.split(' ').nth(4)?);
        (kind == TYPE).then(|| owner_in(source)).flatten().map(|owner| (mountpoint, owner))
    };
    mountinfo.lines().filter_map(parse).collect()
}

/// `\040` is a space: three octal digits.
fn unescape(text: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [byte, after @ ..] = rest {
        let digits = after.get(..3).filter(|_| *byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => (bytes.push(escaped), rest = &after[3..]).0,
            None => (bytes.push(*byte), rest = after).0,
        }
    }
    OsString::from_vec(bytes).into()
}

/// Whether this process is known to live no more.
fn is_gone(by: &Owner) -> bool {
    by.namespace == namespace() && owner(by.pid) != *by
}

/// Unmounts what processes that are gone left mounted, at or below a directory. Returns where. Mounts of processes that
/// live are left alone, and those of another namespace of processes, of which nothing is known: who makes such a
/// namespace sees copies of the mounts that there were, and to unmount one by force would end it for its owner too.
/// Mounting does this by itself, everywhere.
///
/// # Errors
/// The kernel's table cannot be read, or one cannot be unmounted.
pub fn unmount_left_behind(below: &Path) -> io::Result<Vec<PathBuf>> {
    let mounts = mounts_in(&fs::read_to_string("/proc/self/mountinfo")?);
    let left = mounts.into_iter().filter(|(at, by)| is_gone(by) && at.starts_with(below));
    let left: Vec<_> = left.collect();
    for (mountpoint, _) in &left {
        match abandon(mountpoint) {
            // Another process was faster.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {}
            done => done?,
        }
    }
    Ok(left.into_iter().map(|(mountpoint, _)| mountpoint).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_this_crate_are_found_with_their_owner() {
        let table = "36 35 98:0 / /mnt rw,noatime master:1 - ext3 granary-powercut:1:2 rw\n\
                     40 35 0:50 / /tmp/a\\040b rw - fuse.granary-powercut granary-powercut:77:123:5 rw,user_id=0\n\
                     41 35 0:51 / /tmp/c rw - fuse.granary-powercut other rw\n";
        let owner = Owner { pid: 77, start: "123".into(), namespace: 5 };
        assert_eq!(mounts_in(table), [(PathBuf::from("/tmp/a b"), owner)]);
    }

    #[test]
    fn the_start_of_a_process_is_read_behind_any_name() {
        let fields: Vec<_> = (4..=52).map(|field| field.to_string()).collect();
        assert_eq!(start_in(&format!("12 (a ) b) S {}", fields.join(" "))), Some("22".into()));
        assert_eq!(start_in(&format!("12 (a ) b) Z {}", fields.join(" "))), None);
    }

    #[test]
    fn this_process_lives_and_is_told_from_one_before_with_its_id() {
        let me = owner(process::id());
        assert_eq!(owner_in(&me.to_string()), Some(me.clone()));
        assert!(!me.start.is_empty());
        let before = Owner { start: "1".into(), ..me.clone() };
        assert!(!is_gone(&me) && is_gone(&before));
        assert!(!is_gone(&Owner { namespace: 1, ..before }), "nothing is known of other namespaces");
    }
}
