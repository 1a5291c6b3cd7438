//! The disk by hand: `granary-powercut mount BACKING MOUNTPOINT`, and commands on its input.

use std::{
    error::Error,
    io::{BufRead as _, stdin},
    path::{Path, PathBuf},
};

use clap::{Parser, Subcommand};
use granary_powercut::{
    Effect, Errno, Fault, Glob, Handle, Lie, Operation, Options, PowerCutFs, damage_at_rest, durable_files,
    unmount_left_behind,
};

#[derive(Parser)]
#[command(about = "A file system for tests that forgets what was not synced when its power is cut")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Mounts, and obeys lines on its input until they end: cut drop|prefix|pieces|mixed SEED, remount, capacity BYTES,
    /// lie, honest, fail GLOB (its syncs), counts, unsynced
    Mount {
        /// Where durable bytes are kept
        backing: PathBuf,
        /// Where it is mounted
        mountpoint: PathBuf,
        /// Size of the disk in bytes
        #[arg(long)]
        capacity: Option<u64>,
        /// A sync also syncs the file under it
        #[arg(long)]
        real_sync: bool,
    },
    /// Lists the durable files of a disk that is not mounted
    List {
        /// Where durable bytes are kept
        backing: PathBuf,
    },
    /// Flips a bit of a file of a disk that is not mounted, or cuts off its end
    Damage {
        /// Where durable bytes are kept
        backing: PathBuf,
        /// Which files
        path: Glob,
        /// Cut off the end
        #[arg(long)]
        truncate: bool,
        /// Decides which file and where
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Unmounts what killed processes left mounted
    Clean,
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse().command {
        Command::Mount { backing, mountpoint, capacity, real_sync } => {
            let disk = PowerCutFs::mount(&backing, &mountpoint, Options { capacity, real_sync, ..Options::default() })?;
            println!("mounted at {}", mountpoint.display());
            for line in stdin().lock().lines() {
                match obey(&disk, &line?) {
                    Ok(said) => println!("{said}"),
                    Err(error) => println!("error: {error}"),
                }
            }
            disk.unmount()?;
        }
        Command::List { backing } => {
            for (path, length) in durable_files(&backing)? {
                println!("{length:>12} {path}");
            }
        }
        Command::Damage { backing, path, truncate, seed } => {
            println!("{:?}", damage_at_rest(&backing, &path, truncate, seed)?);
        }
        Command::Clean => {
            for mountpoint in unmount_left_behind(Path::new("/"))? {
                println!("unmounted {}", mountpoint.display());
            }
        }
    }
    Ok(())
}

fn obey(disk: &Handle, line: &str) -> Result<String, Box<dyn Error>> {
    let words: Vec<_> = line.split_whitespace().collect();
    match *words.as_slice() {
        ["cut", tear, seed] => return Ok(format!("{:?}", disk.cut(tear.parse()?, seed.parse()?)?)),
        ["remount"] => disk.remount()?,
        ["capacity", bytes] => disk.set_capacity(Some(bytes.parse()?)),
        ["lie"] => disk.lie(Lie::Always),
        ["honest"] => disk.lie(Lie::Never),
        ["fail", path] => drop(disk.inject(Fault::new(&[Operation::Sync], Effect::Fail(Errno::IO)).on(path))),
        ["counts"] => return Ok(format!("{:?}", disk.counts())),
        ["unsynced"] => return Ok(format!("{:?}", disk.unsynced()?)),
        _ => return Err(format!("no such command: {line}").into()),
    }
    Ok("done".to_owned())
}
