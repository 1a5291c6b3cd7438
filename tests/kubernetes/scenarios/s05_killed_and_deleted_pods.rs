//! A leader's process killed, its pod deleted, and a pod force-deleted while its process runs.

use super::Scenario;

pub const SCENARIOS: &[Scenario] = &[];
