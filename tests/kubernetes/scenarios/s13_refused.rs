//! Specs that are refused, by the API server or by the operator.

use super::Scenario;

pub const SCENARIOS: &[Scenario] = &[];
