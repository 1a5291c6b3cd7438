//! The last step of the process, and what its exit codes mean: for whoever starts it again.
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | it was asked to stop, and did |
//! | 1 | it cannot start, or not go on; the last line of its log says why |
//! | 2 | wrong usage |
//! | 70 | it was stuck, and ended itself; the next start goes on from what is durable |
//! | 74 | a write to the disk failed, or hung; the next start goes on from what is durable |
//! | 75 | a part of `data/` is damaged; the next start makes it anew |
//! | 78 | the program is older than the cluster or the files on the disk: a newer version is needed |
//! | 134 | a broken invariant (SIGABRT) |

use std::io::Write as _;

/// It cannot start, or not go on.
pub const FAILED: i32 = 1;
/// A thread did not go on, or is gone.
pub const STUCK: i32 = 70;
/// A write to the disk failed, or hung.
pub const DISK_FAILED: i32 = 74;
/// The next start does what this process cannot: it makes a damaged store anew.
pub const START_AGAIN: i32 = 75;
/// The program is older than the cluster or what is on the disk.
pub const TOO_OLD: i32 = 78;

/// Ends the process with this code at once, without the destructors of static objects: RocksDB's would pull locks from
/// under its own threads, which live until the end, and turn a clean stop into an abort, or hang.
pub fn exit(code: i32) -> ! {
    // Nobody is left to tell when this fails.
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
    exit_at_once(code)
}

/// The same without a wait for what may still be written.
#[allow(unsafe_code)]
pub fn exit_at_once(code: i32) -> ! {
    // SAFETY: `_exit` takes any code, touches no memory of ours and does not return.
    unsafe { libc::_exit(code) }
}
