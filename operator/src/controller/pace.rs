//! When a cluster is looked at again. Pure.

use std::time::Duration;

use granary_planner::Plan;

/// While steps are being taken.
const BUSY: Duration = Duration::from_millis(250);
/// While something is waited for.
const WAITING: Duration = Duration::from_secs(1);
/// While everything is as desired: the nodes are asked, not the API server.
const SETTLED: Duration = Duration::from_secs(3);
/// At most, after rounds that failed.
const LONGEST: Duration = Duration::from_secs(10);

/// After a round that saw something.
pub fn after(plan: &Plan, failed: bool) -> Duration {
    if failed {
        WAITING
    } else if !plan.steps.is_empty() {
        BUSY
    } else if plan.waiting.is_empty() && plan.degraded.is_empty() {
        SETTLED
    } else {
        WAITING
    }
}

/// After so many rounds in a row that saw nothing.
pub fn after_failures(failures: u32) -> Duration {
    (WAITING * 2_u32.saturating_pow(failures.saturating_sub(1).min(8))).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_are_tried_less_and_less_often_up_to_a_limit() {
        let seconds: Vec<_> = [1, 2, 3, 4, 5, 99].map(|failures| after_failures(failures).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
    }
}
