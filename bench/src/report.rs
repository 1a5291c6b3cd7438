//! target/bench/report.json: one row a figure.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    args::Part,
    error::{Doing as _, Result},
    figures::Spread,
};

/// A figure of ours beside etcd's and the disk's.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// The part of the run that measured it.
    pub part: Part,
    /// What was measured.
    pub name: String,
    /// How many clients asked; 0 where it is not about clients.
    pub clients: u32,
    /// Median of ours.
    pub ours: Option<f64>,
    /// Median of etcd's; none where it was not asked.
    pub etcd: Option<f64>,
    /// What the disk does by itself, in the same unit; none where nothing compares.
    pub limit: Option<f64>,
    /// Median of ours by etcd's, round by round.
    pub ratio: Option<f64>,
    /// What the figures count.
    pub unit: String,
}

impl Row {
    /// A figure of ours that nothing compares with.
    pub fn alone(name: impl Into<String>, clients: u32, unit: &str, figure: f64) -> Self {
        Self { name: name.into(), clients, ours: Some(figure), unit: unit.into(), ..Self::default() }
    }

    /// Of figures that were compared round by round.
    pub fn compared(
        name: &str,
        clients: u32,
        unit: &str,
        of: (Option<Spread>, Option<Spread>, Option<Spread>),
    ) -> Self {
        let median = |spread: Option<Spread>| spread.map(|spread| spread.median);
        Self {
            name: name.into(),
            clients,
            ours: median(of.0),
            etcd: median(of.1),
            ratio: median(of.2),
            unit: unit.into(),
            ..Self::default()
        }
    }
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// What it was measured on.
    pub machine: String,
    /// One a figure.
    pub rows: Vec<Row>,
}

impl Report {
    /// What an earlier run wrote of parts that this one leaves out; nothing where there is no such file.
    pub fn earlier(path: &Path, parts: &[Part]) -> Self {
        let mut report: Self =
            fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        report.rows.retain(|row| !parts.contains(&row.part));
        report
    }

    /// Adds a row of that part.
    pub fn add(&mut self, part: Part, row: Row) {
        self.rows.push(Row { part, ..row });
    }

    /// Writes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, path: &Path) -> Result<()> {
        self.rows.sort_by_key(|row| row.part);
        let text = serde_json::to_string_pretty(self).doing("writing the report")?;
        fs::write(path, text + "\n").doing(path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_parts_that_are_left_out_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        let mut report = Report::earlier(&path, &[Part::Idle]);
        report.add(Part::Idle, Row::alone("idle_cpu", 0, "%", 1.0));
        report.add(Part::Loads, Row::alone("put", 64, "op/s", 9.0));
        report.write(&path).unwrap();
        let names = |report: Report| report.rows.into_iter().map(|row| row.name).collect::<Vec<_>>();
        assert_eq!(names(Report::earlier(&path, &[])), ["put", "idle_cpu"]);
        assert_eq!(names(Report::earlier(&path, &[Part::Loads])), ["idle_cpu"]);
    }
}
