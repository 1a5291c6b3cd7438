//! A new version of the operator restarts no pod.

use super::Scenario;

pub const SCENARIOS: &[Scenario] = &[];
