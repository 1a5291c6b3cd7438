//! What a run found, as JSON and for people.

use std::{collections::BTreeMap, path::Path};

use granary_tests::{HarnessError, Result};
use serde::Serialize;

/// The content of report.json.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The plan of faults and what clients choose follow from it; how they meet does not.
    pub seed: u64,
    /// How long faults were to go on.
    pub minutes: f64,
    /// Faults that happened, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Writes that were acknowledged to clients and probes.
    pub acknowledged: u64,
    /// Acknowledged writes that were not there at the end.
    pub lost: u64,
    /// Keys that are not linearizable, writes that were done twice, revisions that cannot be, replicas that differ.
    pub violations: u64,
    /// Longest time for which a shard took no write while nothing was wrong, or behind the end of faults.
    pub longest_gap_ms: u64,
    /// Nothing lost, no violation, everything finished, every wanted kind of fault happened.
    pub ok: bool,
    /// Longest time until every replica was whole again.
    pub longest_until_whole_ms: u64,
    /// Operations of the history.
    pub operations: u64,
    /// Keys of the history.
    pub keys: u64,
    /// Reads of the history that were answered.
    pub reads: u64,
    /// Writes of the history whose outcome is unknown.
    pub unknown: u64,
    /// By how much a timer of the harness was late at most: when that is much, processes had no processor, and times
    /// say little.
    pub longest_late_ms: u64,
    /// Packets that cuts dropped.
    pub packets_dropped: u64,
    /// Snapshots that nodes took in.
    pub snapshots: u64,
    /// Wanted kinds of faults that did not happen.
    pub missing: Vec<String>,
    /// What went wrong, in sentences.
    pub failures: Vec<String>,
}

impl Report {
    /// Writes it.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|error| HarnessError::because("report", error))?;
        std::fs::write(path, text + "\n").map_err(|error| HarnessError::because(path.display(), error))
    }

    /// For people.
    pub fn print(&self) {
        let faults: Vec<String> = self.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        println!("faults: {}", faults.join(", "));
        println!(
            "{} writes acknowledged, {} lost, {} violations; {} operations on {} keys, {} of unknown outcome",
            self.acknowledged, self.lost, self.violations, self.operations, self.keys, self.unknown
        );
        println!(
            "behind faults: longest time without a write of a shard {} ms, until every replica was whole {} ms; \
             {} snapshots came in, {} packets were dropped; the harness itself was late by {} ms at most",
            self.longest_gap_ms,
            self.longest_until_whole_ms,
            self.snapshots,
            self.packets_dropped,
            self.longest_late_ms
        );
        self.failures.iter().for_each(|failure| println!("FAILED: {failure}"));
        println!("{}", if self.ok { "ok" } else { "FAILED" });
    }
}
