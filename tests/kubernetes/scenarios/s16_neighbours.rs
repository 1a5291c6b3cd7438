//! Clusters side by side.

use super::Scenario;

pub const SCENARIOS: &[Scenario] = &[];
