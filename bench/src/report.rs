//! target/bench/report.json: one row a figure.

use std::{fs, path::Path};

use serde::Serialize;

use crate::{
    error::{Doing as _, Result},
    figures::Spread,
};

/// A figure of ours beside etcd's and the disk's.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
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
            limit: None,
            ratio: median(of.2),
            unit: unit.into(),
        }
    }
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What it was measured on.
    pub machine: String,
    /// One a figure.
    pub rows: Vec<Row>,
}

impl Report {
    /// Writes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).doing("writing the report")?;
        fs::write(path, text + "\n").doing(path.display())
    }
}
