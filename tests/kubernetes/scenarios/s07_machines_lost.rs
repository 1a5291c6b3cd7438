//! A Kubernetes node cut off, and one drained and deleted with its volumes.

use super::Scenario;

pub const SCENARIOS: &[Scenario] = &[];
