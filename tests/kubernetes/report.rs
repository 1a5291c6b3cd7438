//! target/kubernetes/report.json (of another instance NAME: reports/NAME/report.json), written anew after each scenario,
//! and the table in the end.

use std::{fs, path::PathBuf, sync::OnceLock, time::Duration};

use serde_json::{Map, Value, json};

use crate::{figures::Figures, helm::repository, options};

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Says which instance of the testbed the report is about: several may run side by side.
pub fn of_instance(name: &str) {
    let folder = if name == options::INSTANCE {
        "target/kubernetes".into()
    } else {
        format!("target/kubernetes/reports/{name}")
    };
    let _ = FOLDER.set(PathBuf::from(repository(&folder)));
}

/// Where reports are, and what is kept of failures.
pub fn folder() -> PathBuf {
    FOLDER.get().cloned().unwrap_or_default()
}

/// Where the report is.
pub fn file() -> PathBuf {
    folder().join("report.json")
}

/// A new report with what is known before the first scenario.
pub fn begin(facts: &[(&str, Duration)]) {
    let mut figures = Figures::new();
    facts.iter().for_each(|(name, time)| figures.seconds(name, *time));
    write(&json!({"scenarios": [], "ok": false, "figures": figures.0}));
}

/// Adds how long all of it took.
pub fn add_duration(time: Duration) {
    if let Some(mut report) = read() {
        let mut total = Figures::new();
        total.seconds("total_s", time);
        merge_figures(&mut report, &total.0);
        write(&report);
    }
}

/// What came of one scenario.
pub struct Outcome {
    pub name: &'static str,
    pub time: Duration,
    /// The figures, or why it failed.
    pub result: Result<Figures, String>,
}

/// The report while scenarios run.
pub struct Report {
    /// How many are to run: fewer than that is not ok.
    wanted: usize,
    outcomes: Vec<Outcome>,
    /// Of what all scenarios share.
    figures: Map<String, Value>,
}

impl Report {
    /// Goes on from what [`begin`] wrote.
    pub fn new(wanted: usize, shared: &Figures) -> Self {
        let mut figures = read().and_then(|report| report["figures"].as_object().cloned()).unwrap_or_default();
        figures.extend(shared.0.clone());
        let report = Self { wanted, outcomes: vec![], figures };
        report.write();
        report
    }

    pub fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
        self.write();
    }

    /// Whether all that were wanted ran and passed.
    pub fn ok(&self) -> bool {
        self.outcomes.len() == self.wanted && self.outcomes.iter().all(|outcome| outcome.result.is_ok())
    }

    fn write(&self) {
        let rows = self.outcomes.iter().map(|outcome| {
            let mut row = json!({"name": outcome.name, "seconds": tenths(outcome.time), "ok": outcome.result.is_ok()});
            row["figures"] = outcome.result.as_ref().map_or_else(|_| json!({}), |figures| json!(figures.0));
            if let Err(why) = &outcome.result {
                row["failure"] = json!(why);
            }
            row
        });
        let rows: Vec<Value> = rows.collect();
        write(&json!({"scenarios": rows, "ok": self.ok(), "figures": self.figures}));
    }

    /// The table.
    pub fn print(&self) {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_header(["scenario", "", "seconds", "figures"]);
        for outcome in &self.outcomes {
            let (verdict, words) = match &outcome.result {
                Ok(figures) => ("ok", figures.line()),
                Err(why) => ("FAILED", why.lines().next().unwrap_or_default().to_owned()),
            };
            table.add_row([outcome.name, verdict, &tenths(outcome.time).to_string(), &words]);
        }
        println!("\n{table}");
        let passed = self.outcomes.iter().filter(|outcome| outcome.result.is_ok()).count();
        let verdict = if self.ok() { "ok" } else { "FAILED" };
        let failed = self.outcomes.len() - passed;
        println!("\ntest result: {verdict}. {passed} passed; {failed} failed; report: {}", file().display());
    }
}

fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

fn read() -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(file()).ok()?).ok()
}

fn merge_figures(report: &mut Value, more: &Map<String, Value>) {
    if let Some(figures) = report["figures"].as_object_mut() {
        figures.extend(more.clone());
    }
}

/// Renamed into place: whoever reads it meanwhile reads a whole one.
fn write(report: &Value) {
    let (file, new) = (file(), file().with_extension("json.new"));
    let written = file.parent().map_or(Ok(()), fs::create_dir_all);
    let written =
        written.and_then(|()| fs::write(&new, format!("{report:#}\n"))).and_then(|()| fs::rename(&new, &file));
    if let Err(error) = written {
        eprintln!("{} cannot be written: {error}", file.display());
    }
}
