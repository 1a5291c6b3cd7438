//! The operator's rights, and two installations.

use super::Scenario;

pub const SCENARIOS: &[Scenario] = &[];
