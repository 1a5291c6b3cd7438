//! A node's process hangs.

use super::Scenario;

pub const SCENARIOS: &[Scenario] = &[];
