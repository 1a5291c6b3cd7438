//! Between the operator and a node: the operator starts this program as its node binary, and this becomes the node,
//! with a group id of its own (see `network`), its data on a disk of the harness (see `disks`), and a wall clock that
//! can be set.

use std::{
    env, fs,
    fs::File,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use granary_tests::{HarnessError, Result, programs};

use crate::network::group;

/// Set by the harness for the operator, from which nodes have it: the directory of the run.
pub const RUN: &str = "GRANARY_TORTURE_RUN";

/// Where the library is that gives a process another wall clock (Debian's libfaketime).
const LIBRARIES: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"];

/// The library, where it is installed.
pub fn clock_library() -> Option<&'static str> {
    LIBRARIES.into_iter().find(|path| Path::new(path).is_file())
}

/// Where node `index` has its disk.
pub fn disk(run: &Path, index: u32) -> PathBuf {
    run.join("disks").join(format!("node-{index}"))
}

/// By how much the wall clock of node `index` is off, as libfaketime reads it.
pub fn clock(run: &Path, index: u32) -> PathBuf {
    run.join("clocks").join(format!("node-{index}"))
}

/// Becomes the node. Comes back only with an error.
pub fn become_node(run: &Path) -> HarnessError {
    prepare(run)
        .map_or_else(|error| error, |mut command| HarnessError::because("starting granary-node", command.exec()))
}

fn prepare(run: &Path) -> Result<Command> {
    let args: Vec<String> = env::args().skip(1).collect();
    let value = |flag: &str| {
        let found = args.windows(2).find(|pair| pair[0] == flag).map(|pair| pair[1].clone());
        found.ok_or_else(|| HarnessError(format!("the operator gives no {flag}")))
    };
    let (data, name) = (PathBuf::from(value("--data")?), value("--name")?);
    let index = name.strip_prefix("node-").and_then(|index| index.parse().ok());
    let index: u32 = index.ok_or_else(|| HarnessError(format!("{name} is not node-N")))?;
    let disk = disk(run, index);
    give_a_disk(&data, &disk).map_err(|error| HarnessError::because(format!("a disk for {name}"), error))?;
    let mut command = Command::new(programs::path("granary-node")?);
    command.args(&args).gid(group(index)).env_remove(RUN);
    if let Some(library) = clock_library() {
        command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", clock(run, index));
        // Only the wall clock; looked at once a second; not for the times of files.
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        command.env("FAKETIME_CACHE_DURATION", "1").env("NO_FAKE_STAT", "1").env("FAKETIME_DONT_RESET", "1");
    }
    Ok(command)
}

/// Makes the data directory a link to a directory of the disk, if it is none yet: one that never was there before. It
/// is durable before the link exists, as a mounted disk is.
fn give_a_disk(data: &Path, disk: &Path) -> std::io::Result<()> {
    if data.is_symlink() {
        return Ok(());
    }
    let lives = fs::read_dir(disk)?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
    let lives: Vec<u64> = lives.collect();
    let life = disk.join((lives.iter().max().unwrap_or(&0) + 1).to_string());
    fs::create_dir(&life)?;
    // What nobody uses any more would fill the disk in an hour.
    for old in lives {
        match fs::remove_dir_all(disk.join(old.to_string())) {
            // The nemesis empties it as well.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    File::open(&life)?.sync_all()?;
    File::open(disk)?.sync_all()?;
    match fs::remove_dir(data) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(life, data)
}
