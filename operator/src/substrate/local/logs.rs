//! What nodes print, bounded: two files of about 16 MiB for each.

use std::{
    fs::{self, File},
    io,
    path::Path,
    process::Stdio,
};

/// Length from which a log is put aside.
const BOUND: u64 = 16 * 1024 * 1024;
/// What a message shows of the end of a log.
const TAIL: usize = 400;

/// The log to append to, as a process's output.
pub(super) fn open(path: &Path) -> io::Result<(Stdio, Stdio)> {
    let file = File::options().create(true).append(true).open(path)?;
    Ok((Stdio::from(file.try_clone()?), Stdio::from(file)))
}

/// Copies a log that is too long aside and cuts it. The process goes on with the same file, since it only appends.
/// A log that cannot be rotated stops nothing; the next round tries again.
pub(super) fn rotate(path: &Path) {
    let too_long = fs::metadata(path).is_ok_and(|metadata| metadata.len() > BOUND);
    if too_long {
        let cut = || {
            fs::copy(path, path.with_extension("log.1"))
                .and_then(|_| File::options().write(true).open(path)?.set_len(0))
        };
        if let Err(error) = cut() {
            tracing::warn!(log = %path.display(), %error, "cannot rotate");
        }
    }
}

/// The last line of a log, shortened; empty when there is none.
pub(super) fn last_line(path: &Path) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let read = || {
        let mut file = File::open(path)?;
        let from = file.metadata()?.len().saturating_sub(4096);
        file.seek(SeekFrom::Start(from))?;
        let mut end = Vec::new();
        file.take(4096).read_to_end(&mut end)?;
        io::Result::Ok(String::from_utf8_lossy(&end).into_owned())
    };
    let end = read().unwrap_or_default();
    let line = end.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.chars().take(TAIL).collect()
}
