//! The namespace deleted, with and without the operator.

use super::Scenario;

pub const SCENARIOS: &[Scenario] = &[];
