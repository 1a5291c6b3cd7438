//! Crash points, for tests alone: the process ends as by `kill -9` right after something that it did, when the
//! environment asks for it. Without that variable each point is one load of a value that never changes.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use rustix::process::{Signal, getpid, kill_process};

/// `KIND:N`, such as `step:1`: the process ends right after the Nth of that kind that it did. Kinds are `step` (of a
/// plan) and `bootstrap` (a founder's answer to Bootstrap). Anything else is ignored.
const VARIABLE: &str = "GRANARY_CRASH_AFTER";

/// What the environment asks for, and how often it happened.
struct Fuse {
    kind: String,
    at: u64,
    happened: AtomicU64,
}

/// Says that one of `kind` was done. Does not return when that was the one.
pub(crate) fn after(kind: &str) {
    static FUSE: OnceLock<Option<Fuse>> = OnceLock::new();
    let Some(fuse) = FUSE.get_or_init(|| parse(&std::env::var(VARIABLE).ok()?)) else { return };
    if fuse.kind == kind && fuse.happened.fetch_add(1, Ordering::Relaxed) + 1 == fuse.at {
        tracing::warn!(kind, at = fuse.at, "ends now, as {VARIABLE} asks");
        let _ = kill_process(getpid(), Signal::KILL);
        // The first process of a container cannot kill itself so, but it can abort: nothing of it runs on either way.
        std::process::abort();
    }
}

fn parse(text: &str) -> Option<Fuse> {
    let (kind, at) = text.split_once(':')?;
    Some(Fuse { kind: kind.to_owned(), at: at.parse().ok()?, happened: AtomicU64::new(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_point_is_a_kind_and_a_number() {
        let fuse = parse("step:3").unwrap();
        assert_eq!((fuse.kind.as_str(), fuse.at), ("step", 3));
        for bad in ["", "step", "step:", "step:x", "3"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
