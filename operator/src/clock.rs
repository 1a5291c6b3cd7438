//! The wall clock, for times that are shown and never decided by.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix ms; 0 before 1970.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
