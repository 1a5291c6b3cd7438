//! docs/kubernetes.md names every word that a status or an Event may hold, and none that is gone.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

type Words = BTreeSet<String>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// First cells of the table below a heading, without the head of the table.
fn table(document: &str, heading: &str) -> Words {
    let text = read(document);
    let below = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{document}: no {heading}")).1;
    let rows = below.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    rows.skip(2).map(|row| row.split('|').nth(1).unwrap().trim().to_owned()).collect()
}

/// Variants of an enum without fields, by its source.
fn variants(path: &str, name: &str) -> Words {
    let text = read(path);
    let body = text.split_once(&format!("pub enum {name} {{")).unwrap().1.split_once("\n}").unwrap().0;
    let words = body.lines().map(str::trim).filter(|line| line.ends_with(',') && !line.starts_with("//"));
    words.map(|line| line.trim_end_matches(',').to_owned()).collect()
}

/// Reasons that are written as text (`reason: "..."`) below a folder, tests left out.
fn written(folder: &Path, words: &mut Words) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let is_test = path.to_string_lossy().contains("tests");
        if path.is_dir() && !is_test {
            written(&path, words);
        } else if path.extension().is_some_and(|end| end == "rs") && !is_test {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            let found = code.split("reason: \"").skip(1).filter_map(|rest| rest.split('"').next());
            words.extend(found.map(str::to_owned));
        }
    }
}

const PLAN: &str = "operator/planner/src/plan.rs";
const KUBERNETES: &str = "docs/kubernetes.md";
const OPERATIONS: &str = "docs/operations.md";

#[test]
fn every_reason_to_wait_is_explained_for_kubernetes_and_for_local_mode() {
    let reasons = variants(PLAN, "WaitingReason");
    assert!(reasons.contains("Quorum"));
    assert_eq!(table(KUBERNETES, "### Waiting"), reasons);
    assert_eq!(table(OPERATIONS, "### Waiting"), reasons);
}

#[test]
fn every_reason_of_the_condition_degraded_is_explained() {
    let planned = variants(PLAN, "DegradedReason");
    assert!(planned.contains("QuorumLost"));
    assert_eq!(table(OPERATIONS, "### Degraded"), planned);

    let mut reasons = planned;
    written(&root().join("operator/src"), &mut reasons);
    assert!(reasons.contains("ImagePull") && reasons.contains("OperatorConflict"));
    // Of a round that failed, and of a deletion that does: not said by a plan or a substrate.
    reasons.extend(["RoundFailed", "DeletionFailed"].map(str::to_owned));
    assert_eq!(table(KUBERNETES, "### Degraded"), reasons);
}

#[test]
fn every_event_is_explained() {
    let events = variants("operator/src/controller/events.rs", "Reason");
    assert!(events.contains("Founded"));
    assert_eq!(table(KUBERNETES, "### Events"), events);
}

#[test]
fn every_alert_and_every_metric_of_the_operator_is_named() {
    let text = read(KUBERNETES);
    let alerts = read("charts/granary/files/alerts.yaml");
    let metrics = read("operator/src/controller/metrics.rs");
    let alerts = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ").map(str::to_owned));
    let metrics = metrics.lines().filter_map(|line| line.strip_prefix("//! | `")?.split('`').next().map(str::to_owned));
    let (alerts, metrics): (Words, Words) = (alerts.collect(), metrics.collect());
    assert!(!alerts.is_empty() && !metrics.is_empty());
    for word in alerts.iter().chain(&metrics) {
        assert!(text.contains(word.as_str()), "{KUBERNETES} does not name {word}");
    }
}
