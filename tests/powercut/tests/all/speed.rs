//! How fast it is, beside the file system under it. By hand: `--ignored --nocapture`, in release.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::Instant,
};

use granary_powercut::Options;
use tempfile::TempDir;

use crate::support::disk_with;

const SYNCED: u32 = 2000;
const UNSYNCED: u32 = 20_000;

fn measure(what: &str, dir: &Path) {
    let rate = |count: u32, synced: bool| {
        let mut file = File::create(dir.join("a")).unwrap();
        let started = Instant::now();
        for _ in 0..count {
            file.write_all(&[7; 300]).unwrap();
            if synced {
                file.sync_data().unwrap();
            }
        }
        f64::from(count) / started.elapsed().as_secs_f64()
    };
    println!("{what}: {:.0} synced writes/s, {:.0} unsynced", rate(SYNCED, true), rate(UNSYNCED, false));
    let started = Instant::now();
    let content = vec![3; 64 << 20];
    fs::write(dir.join("b"), &content).unwrap();
    File::open(dir.join("b")).unwrap().sync_all().unwrap();
    println!("{what}: 64 MiB written and synced in {:?}", started.elapsed());
    let started = Instant::now();
    assert_eq!(fs::read(dir.join("b")).unwrap().len(), content.len());
    println!("{what}: and read in {:?}", started.elapsed());
}

#[test]
#[ignore = "figures for people"]
fn beside_the_file_system_under_it() {
    let bare = TempDir::new().unwrap();
    measure("bare", bare.path());
    for real_sync in [false, true] {
        let Some(disk) = disk_with(Options { real_sync, ..Options::default() }) else { return };
        measure(&format!("powercut, real_sync {real_sync}"), disk.handle.mountpoint());
    }
}
