//! The end of a node that must not go on.

use std::{sync::mpsc, time::Duration};

/// Longest wait for a last word to be written: what it is written to may be on the disk that hangs.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Says why and ends the process at once: after a failed write or sync nobody knows what is on the disk, so nothing may
/// be acknowledged, served or retried (HAZARDS H22). The next start goes on from what is durable.
pub(crate) fn fatal(what: &str, error: &dyn std::error::Error) -> ! {
    let mut causes = String::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push_str(": ");
        causes.push_str(&cause.to_string());
        source = cause.source();
    }
    tracing::error!(
        "{what}: {error}{causes}. This node stops now and does not retry; check its disk, then start it again"
    );
    crate::exit::exit(crate::exit::DISK_FAILED)
}

/// Says why this node must never run on this disk again, and ends the process. The disk says so too by now.
pub(crate) fn unfit(why: &str) -> ! {
    tracing::error!("{why}. This node stops for good: it is to be replaced, or to get an empty disk");
    crate::exit::exit(crate::exit::FAILED)
}

/// Says why and ends the process, even when nothing can be written any more.
pub(crate) fn end_at_once(code: i32, why: &str) -> ! {
    let (said, heard) = mpsc::channel();
    let words = why.to_owned();
    let say = move || {
        tracing::error!("{words}");
        let _ = said.send(());
    };
    if std::thread::Builder::new().name("last-word".into()).spawn(say).is_ok() {
        // Said or not: it ends.
        let _ = heard.recv_timeout(LAST_WORD);
    }
    crate::exit::exit_at_once(code)
}
