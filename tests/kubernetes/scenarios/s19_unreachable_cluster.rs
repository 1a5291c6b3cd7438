//! A cluster that cannot be reached delays no other.

use super::Scenario;

pub const SCENARIOS: &[Scenario] = &[];
