//! The figures of all tests of one run of the program, in one file.

use std::{fs, path::PathBuf, sync::LazyLock, time::Duration};

use granary_tests::programs;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

static FIGURES: LazyLock<Mutex<Map<String, Value>>> = LazyLock::new(Mutex::default);

/// `target/powercuts`.
pub fn folder() -> PathBuf {
    let programs = programs::folder().unwrap();
    programs.parent().unwrap().join("powercuts")
}

/// Notes what a test found, and writes all that is known so far.
pub fn note(test: &str, figures: Value) {
    println!("{test}: {figures}");
    let mut all = FIGURES.lock();
    all.insert(test.to_owned(), figures);
    fs::create_dir_all(folder()).unwrap();
    fs::write(folder().join("report.json"), serde_json::to_vec_pretty(&*all).unwrap()).unwrap();
}

/// Count, median and largest, in ms.
pub fn times(times: &[Duration]) -> Value {
    let mut ms: Vec<u64> = times.iter().map(|time| time.as_millis() as u64).collect();
    ms.sort_unstable();
    json!({ "count": ms.len(), "median_ms": ms.get(ms.len() / 2), "max_ms": ms.last() })
}
