//! target/kubernetes/report.json (of another instance NAME: reports/NAME/report.json) and the table in the end. Each lane
//! writes what it has so far after each scenario; the whole is made of those.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

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

fn lane_file(lane: usize) -> PathBuf {
    folder().join("lanes").join(format!("{lane}.json"))
}

/// What came of one scenario.
pub struct Outcome {
    pub name: &'static str,
    pub time: Duration,
    /// The figures, or why it failed.
    pub result: Result<Figures, String>,
}

impl Outcome {
    fn row(&self) -> Value {
        let mut row = json!({"name": self.name, "seconds": tenths(self.time), "ok": self.result.is_ok()});
        row["figures"] = self.result.as_ref().map_or_else(|_| json!({}), |figures| json!(figures.0));
        if let Err(why) = &self.result {
            row["failure"] = json!(why);
        }
        row
    }
}

/// What one lane has done so far.
pub struct LaneReport {
    lane: usize,
    rows: Vec<Value>,
    /// Of what its scenarios share.
    figures: Map<String, Value>,
}

impl LaneReport {
    pub fn new(lane: usize, shared: &Figures) -> Self {
        let report = Self { lane, rows: vec![], figures: shared.0.clone() };
        report.write();
        report
    }

    pub fn add(&mut self, outcome: &Outcome) {
        self.rows.push(outcome.row());
        self.write();
    }

    fn write(&self) {
        write(&lane_file(self.lane), &json!({"scenarios": self.rows, "figures": self.figures}));
    }
}

/// The report of a whole run.
pub struct Report {
    rows: Vec<Value>,
    figures: Map<String, Value>,
    /// Whether all that were wanted ran and passed.
    pub ok: bool,
}

impl Report {
    /// Forgets what lanes wrote in earlier runs.
    pub fn begin(lanes: usize) {
        (1..=lanes).for_each(|lane| drop(fs::remove_file(lane_file(lane))));
        write(&file(), &json!({"scenarios": [], "ok": false, "figures": {}}));
    }

    /// Puts together what the lanes wrote, in the order of `wanted`, with the figures of the run itself.
    pub fn of_lanes(lanes: usize, wanted: &[&str], run: &Figures) -> Self {
        let written: Vec<Value> = (1..=lanes).filter_map(|lane| read(&lane_file(lane))).collect();
        let rows: Vec<&Value> = written.iter().flat_map(|lane| lane["scenarios"].as_array()).flatten().collect();
        let of = |name: &&str| rows.iter().find(|row| row["name"] == *name).map(|row| (*row).clone());
        let rows: Vec<Value> = wanted.iter().filter_map(of).collect();
        let ok = rows.len() == wanted.len() && rows.iter().all(|row| row["ok"] == true);
        let mut figures = run.0.clone();
        // The first lane is the one that is always there.
        figures.extend(written.first().and_then(|lane| lane["figures"].as_object().cloned()).unwrap_or_default());
        let report = Self { rows, figures, ok };
        write(&file(), &json!({"scenarios": report.rows, "ok": report.ok, "figures": report.figures}));
        report
    }

    /// The table.
    pub fn print(&self, wanted: usize) {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_header(["scenario", "", "seconds", "figures"]);
        for row in &self.rows {
            let name = row["name"].as_str().unwrap_or_default();
            let (verdict, words) = match row["failure"].as_str() {
                None => ("ok", Figures(row["figures"].as_object().cloned().unwrap_or_default()).line()),
                Some(why) => ("FAILED", why.lines().next().unwrap_or_default().to_owned()),
            };
            table.add_row([name, verdict, &row["seconds"].to_string(), &words]);
        }
        println!("\n{table}");
        let passed = self.rows.iter().filter(|row| row["ok"] == true).count();
        let verdict = if self.ok { "ok" } else { "FAILED" };
        let (failed, not_run) = (self.rows.len() - passed, wanted - self.rows.len());
        let file = file();
        println!(
            "\ntest result: {verdict}. {passed} passed; {failed} failed; {not_run} not run; report: {}",
            file.display()
        );
    }
}

fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

fn read(file: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(file).ok()?).ok()
}

/// Renamed into place: whoever reads it meanwhile reads a whole one.
fn write(file: &Path, report: &Value) {
    let new = file.with_extension("json.new");
    let written = file.parent().map_or(Ok(()), fs::create_dir_all);
    let written = written.and_then(|()| fs::write(&new, format!("{report:#}\n"))).and_then(|()| fs::rename(&new, file));
    if let Err(error) = written {
        eprintln!("{} cannot be written: {error}", file.display());
    }
}
