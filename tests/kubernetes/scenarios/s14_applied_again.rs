//! Deleted and applied again.

use super::Scenario;

pub const SCENARIOS: &[Scenario] = &[];
