//! Image and resources changed under load; a broken image; a restart that was asked for.

use super::Scenario;

pub const SCENARIOS: &[Scenario] = &[];
