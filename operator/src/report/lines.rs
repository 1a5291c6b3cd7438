//! One line for each step.

use granary_planner::plan::PlannedStep;

/// The step and its reason.
pub fn step(planned: &PlannedStep) -> String {
    format!("{}: {}", planned.step, planned.reason)
}
