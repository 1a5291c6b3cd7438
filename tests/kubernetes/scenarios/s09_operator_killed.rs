//! The operator killed at every step of scaling.

use super::Scenario;

pub const SCENARIOS: &[Scenario] = &[];
