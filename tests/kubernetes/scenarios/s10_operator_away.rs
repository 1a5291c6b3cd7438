//! Nobody looks: the operator scaled to 0.

use super::Scenario;

pub const SCENARIOS: &[Scenario] = &[];
