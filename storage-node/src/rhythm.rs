//! Moments at which a node does what it does now and then, the same for all parts: so it wakes up once for many of them, and a
//! wake-up is most of what each costs a node at rest.

use std::{sync::OnceLock, time::Duration};

use tokio::time::{Instant, sleep_until};

/// The next multiple of `period`, counted from the first question of the process.
pub(crate) fn next(period: Duration) -> Instant {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let now = Instant::now();
    behind(*FIRST.get_or_init(|| now), now, period)
}

/// Waits for that moment.
pub(crate) async fn rest(period: Duration) {
    sleep_until(next(period)).await;
}

fn behind(first: Instant, now: Instant, period: Duration) -> Instant {
    let passed = now.saturating_duration_since(first).as_nanos();
    let whole = u32::try_from(passed / period.as_nanos().max(1)).unwrap_or(u32::MAX - 1);
    first + period * (whole + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_a_longer_period_are_some_of_those_of_a_shorter_one_and_never_now() {
        let (first, at) = (Instant::now(), Duration::from_millis);
        let next = |now, period| behind(first, first + at(now), at(period)) - first;
        assert_eq!((next(0, 250), next(249, 250), next(250, 250)), (at(250), at(250), at(500)));
        assert_eq!((next(10, 1_000), next(990, 250)), (at(1_000), at(1_000)));
    }
}
