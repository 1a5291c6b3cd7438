//! The last step of the process.

use std::io::Write as _;

/// Ends the process with this code at once, without the destructors of static objects: RocksDB's would pull locks from
/// under its own threads, which live until the end, and turn a clean stop into an abort, or hang.
#[allow(unsafe_code)]
pub fn exit(code: i32) -> ! {
    // Nobody is left to tell when this fails.
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
    // SAFETY: `_exit` takes any code, touches no memory of ours and does not return.
    unsafe { libc::_exit(code) }
}
