//! Pods, claims and data deleted: of one node, of two, of all.

use super::Scenario;

pub const SCENARIOS: &[Scenario] = &[];
