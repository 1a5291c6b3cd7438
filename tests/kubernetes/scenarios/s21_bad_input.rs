//! Whatever else may be wrong with what the operator is given.

use super::Scenario;

pub const SCENARIOS: &[Scenario] = &[];
