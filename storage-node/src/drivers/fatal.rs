//! The end of a node that must not go on.

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
