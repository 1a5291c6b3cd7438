//! One loop at a time: an advisory lock of the kernel, which goes away with its holder however that ends.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    time::Duration,
};

use super::{files::doing, layout::Layout};
use crate::substrate::SubstrateError;

const TRIES: u32 = 3;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// Held as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock and leaves the own pid in it.
    ///
    /// # Errors
    /// Somebody holds it: says which pid.
    pub fn take(layout: &Layout) -> Result<Self, SubstrateError> {
        let path = layout.lock();
        let failed = || format!("cannot lock {}", path.display());
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(doing(failed()))?;
        match patiently(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = pid_in(&mut file).map_or("unknown".to_owned(), |pid| pid.to_string());
                return Err(SubstrateError::Taken(format!(
                    "the cluster directory {} is in use by the process {pid}: stop it with `granary local down`, or give \
                     another --dir",
                    layout.dir().display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(doing(failed())(error)),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{}", std::process::id())?;
            file.flush()
        };
        write(&mut file).map_err(doing(failed()))?;
        Ok(Self { _file: file })
    }

    /// Pid of the process that holds the lock; `None`: nobody does.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn holder(layout: &Layout) -> Result<Option<u32>, SubstrateError> {
        let path = layout.lock();
        let mut file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(doing(format!("cannot open {}", path.display()))(error)),
        };
        match file.try_lock() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => pid_in(&mut file).map(Some).ok_or_else(|| {
                SubstrateError::Taken(format!("{} is held by a process that left no pid in it", path.display()))
            }),
            Err(TryLockError::Error(error)) => Err(doing(format!("cannot lock {}", path.display()))(error)),
        }
    }
}

/// [`Lock::holder`] holds the lock for a moment; that is not somebody at work.
fn patiently(file: &File) -> Result<(), TryLockError> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(BETWEEN_TRIES),
            other => return other,
        }
    }
    file.try_lock()
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
