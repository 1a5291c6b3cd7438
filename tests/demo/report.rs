//! What the demo found, as a table and as JSON.

use std::path::Path;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use granary_tests::{HarnessError, Result};
use serde::Serialize;

/// One step.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StepRow {
    /// What was done.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// Keys read back in it and found as they should be.
    pub keys_verified: u64,
    /// Writes acknowledged since the start.
    pub acknowledged: u64,
    /// Longest time for which a shard took no write, in ms.
    pub longest_write_gap_ms: u64,
    /// What is worth knowing.
    pub note: String,
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// In order.
    pub steps: Vec<StepRow>,
    /// Sum over the steps.
    pub keys_verified: u64,
    /// Writes acknowledged to the writer.
    pub acknowledged: u64,
    /// Acknowledged writes that were not there.
    pub lost: u64,
    /// While a majority of every shard's replicas was up: all steps but the last.
    pub longest_write_gap_ms: u64,
    /// Nothing lost, no step failed.
    pub ok: bool,
}

impl Report {
    /// Writes the JSON.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|error| HarnessError::because("report", error))?;
        std::fs::write(path, text).map_err(|error| HarnessError::because(path.display(), error))
    }

    /// For people.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["step", "seconds", "keys verified", "writes acknowledged", "longest write gap", "note"]);
        for row in &self.steps {
            table.add_row([
                row.name.clone(),
                format!("{:.1}", row.seconds),
                row.keys_verified.to_string(),
                row.acknowledged.to_string(),
                gap(row.longest_write_gap_ms),
                row.note.clone(),
            ]);
        }
        table.add_row([
            if self.ok { "all".to_owned() } else { "FAILED".to_owned() },
            format!("{:.1}", self.steps.iter().map(|row| row.seconds).sum::<f64>()),
            self.keys_verified.to_string(),
            self.acknowledged.to_string(),
            gap(self.longest_write_gap_ms),
            format!("writes lost: {}", self.lost),
        ]);
        for column in 1..=4 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

fn gap(ms: u64) -> String {
    if ms == 0 { String::new() } else { format!("{ms} ms") }
}
