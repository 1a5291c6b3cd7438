//! What the disk below both systems does by itself, measured in the same run: nobody can acknowledge single synced writes
//! faster than this, one after the other.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use rocksdb::{DB, WriteBatch, WriteOptions};

use crate::error::{Doing as _, Result};

/// Bytes of one write: a small value with what a log adds.
const WRITE: usize = 512;
/// Bytes of a file that is there before it is written.
const WHOLE: usize = 64 << 20;

/// Rates, one after the other, without anything beside.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Appends to a growing file a second, each with fdatasync.
    pub appends: f64,
    /// Writes over a file that is there a second, each with fdatasync.
    pub overwrites: f64,
    /// Puts into RocksDB a second, each synced.
    pub rocksdb: f64,
}

impl Limits {
    /// Measures each for `time`, in `dir`.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn measure(dir: &Path, time: Duration) -> Result<Self> {
        Ok(Self { appends: appends(dir, time)?, overwrites: overwrites(dir, time)?, rocksdb: rocksdb(dir, time)? })
    }
}

fn rate(time: Duration, mut once: impl FnMut() -> Result<()>) -> Result<f64> {
    let (begin, mut count) = (Instant::now(), 0u64);
    while begin.elapsed() < time {
        once()?;
        count += 1;
    }
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

fn appends(dir: &Path, time: Duration) -> Result<f64> {
    let mut file = tempfile::tempfile_in(dir).doing(dir.display())?;
    rate(time, || file.write_all(&[7; WRITE]).and_then(|()| file.sync_data()).doing("appending"))
}

fn overwrites(dir: &Path, time: Duration) -> Result<f64> {
    use std::os::unix::fs::FileExt as _;
    let mut file: File = tempfile::tempfile_in(dir).doing(dir.display())?;
    file.write_all(&vec![0; WHOLE]).and_then(|()| file.sync_all()).doing("filling a file")?;
    let mut at = 0;
    rate(time, || {
        at = (at + WRITE) % WHOLE;
        file.write_all_at(&[7; WRITE], at as u64).and_then(|()| file.sync_data()).doing("writing over a file")
    })
}

fn rocksdb(dir: &Path, time: Duration) -> Result<f64> {
    let dir = tempfile::tempdir_in(dir).doing(dir.display())?;
    let db = DB::open_default(dir.path()).doing("opening RocksDB")?;
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    let mut number = 0u64;
    rate(time, || {
        number += 1;
        let mut batch = WriteBatch::default();
        batch.put(number.to_be_bytes(), [7; 256]);
        db.write_opt(batch, &synced).doing("writing to RocksDB")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_measured() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits::measure(dir.path(), Duration::from_millis(20)).unwrap();
        assert!(limits.appends > 0.0 && limits.overwrites > 0.0 && limits.rocksdb > 0.0, "{limits:?}");
    }
}
