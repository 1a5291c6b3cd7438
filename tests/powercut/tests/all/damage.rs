//! Bit rot and lost ends.

use granary_powercut::{DamageError, DamageKind, Glob, Tear, damage_at_rest, durable_files};

use crate::support::{Disk, disk};

fn two_files() -> Option<Disk> {
    let disk = disk()?;
    for name in ["a.sst", "b.log"] {
        disk.store(name, &[0; 10_000]);
    }
    disk.sync_directory("");
    Some(disk)
}

#[test]
fn at_rest_a_bit_is_flipped_in_a_file_of_the_class() {
    let Some(disk) = two_files() else { return };
    let damage = |seed| damage_at_rest(disk.handle.backing(), &Glob::new("*.sst"), false, seed);
    assert!(matches!(damage(1), Err(DamageError::Store(_))), "it is mounted");
    disk.handle.cut(Tear::Drop, 0).unwrap();
    let done = damage(1).unwrap();
    let DamageKind::Flip { offset, bit } = done.kind else { panic!("{done:?}") };
    disk.handle.remount().unwrap();
    let mut expected = vec![0; 10_000];
    expected[offset as usize] = 1 << bit;
    assert_eq!((done.path.as_str(), disk.read("a.sst").unwrap()), ("a.sst", expected));
    assert_eq!(disk.read("b.log").unwrap(), [0; 10_000]);
}

#[test]
fn at_rest_the_end_of_a_file_is_cut_off() {
    let Some(disk) = two_files() else { return };
    disk.handle.cut(Tear::Drop, 0).unwrap();
    let done = damage_at_rest(disk.handle.backing(), &Glob::any(), true, 7).unwrap();
    let DamageKind::Truncate { from: 10_000, to } = done.kind else { panic!("{done:?}") };
    let files = durable_files(disk.handle.backing()).unwrap();
    assert!(files.contains(&(done.path.clone(), to)), "{files:?}");
    disk.handle.remount().unwrap();
    assert_eq!(disk.read(&done.path).unwrap().len() as u64, to);
}

#[test]
fn under_a_running_system_the_next_read_shows_the_flipped_bit() {
    let Some(disk) = two_files() else { return };
    assert_eq!(disk.read("b.log").unwrap(), [0; 10_000]);
    let done = disk.handle.flip(&Glob::new("*.log"), 3).unwrap();
    assert_eq!(done.path, "b.log");
    assert_eq!(disk.read("b.log").unwrap().iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    let none = disk.handle.flip(&Glob::new("nothing"), 3);
    assert!(matches!(none, Err(DamageError::NoFile(_))), "{none:?}");
}
