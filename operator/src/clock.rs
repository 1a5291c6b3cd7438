//! The clocks of the loop. A simulation holds them for its thread, so that a run depends on nothing but its seed.

use std::{
    cell::Cell,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

thread_local! {
    static HELD: Cell<Option<(Instant, u64)>> = const { Cell::new(None) };
}

/// From here on both clocks of this thread stand at these times (the second in Unix ms), until they are held anew; `None`
/// lets them go again. For simulations alone.
pub fn hold(at: Option<(Instant, u64)>) {
    HELD.set(at);
}

/// The monotonic clock.
pub fn now() -> Instant {
    HELD.get().map_or_else(Instant::now, |(now, _)| now)
}

/// Time since `earlier`.
pub fn since(earlier: Instant) -> Duration {
    now().saturating_duration_since(earlier)
}

/// The wall clock, for times that are shown and never decided by: Unix ms; 0 before 1970.
pub fn unix_ms() -> u64 {
    if let Some((_, unix_ms)) = HELD.get() {
        return unix_ms;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
