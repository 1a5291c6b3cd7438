//! Volumes that grow and volumes that fill up.

use super::Scenario;

pub const SCENARIOS: &[Scenario] = &[];
