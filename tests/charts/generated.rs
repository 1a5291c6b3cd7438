//! Files of the charts that are made from the API types, and versions that follow the workspace.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::{
    committed,
    helm::{documents, with_helm},
    repository, schema,
};

#[test]
fn the_charts_definition_is_the_one_that_the_types_make() {
    committed("charts/granary/files/storagecluster.yaml", &granary_crds::definition_yaml().unwrap());
}

#[test]
fn the_schema_of_a_clusters_values_is_that_of_the_definition() {
    let text = serde_json::to_string_pretty(&schema::cluster_values()).unwrap();
    committed("charts/granary-cluster/values.schema.json", &format!("{text}\n"));
}

#[test]
fn the_rendered_definition_is_the_committed_one_with_helms_notes() {
    with_helm(|helm| {
        let of = |values: &[&str]| -> Option<Value> {
            let all =
                documents(&helm.rendered("granary", "charts/granary", values)).into_iter().map(|(_, value)| value);
            all.into_iter().find(|value| value["kind"] == "CustomResourceDefinition")
        };
        let kept = of(&[]).unwrap();
        assert_eq!(kept["spec"], serde_json::to_value(granary_crds::definition().spec).unwrap());
        assert_eq!(kept["metadata"]["name"], "storageclusters.granary.io");
        assert_eq!(kept["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
        assert!(kept["metadata"]["annotations"]["granary.io/definition-hash"].as_str().unwrap().len() == 64);
        let not_kept = of(&["--set", "crds.keep=false"]).unwrap();
        assert_eq!(not_kept["metadata"]["annotations"].get("helm.sh/resource-policy"), None);
        assert_eq!(of(&["--set", "crds.install=false"]), None);
    });
}

#[test]
fn the_charts_versions_follow_the_workspace() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = |name: &str| yaml(&format!("charts/{name}/Chart.yaml"));
    assert_eq!(chart("granary")["version"], version);
    assert_eq!(chart("granary")["appVersion"], version);
    assert_eq!(chart("granary-cluster")["version"], version);
}

#[test]
fn every_value_has_a_schema_and_every_schema_a_value() {
    for chart in ["granary", "granary-cluster"] {
        let schema: Value = serde_json::from_str(&text(&format!("charts/{chart}/values.schema.json"))).unwrap();
        let values = yaml(&format!("charts/{chart}/values.yaml"));
        let mut known = names(&schema["properties"]);
        known.remove("global");
        assert_eq!(known, names(&values), "{chart}");
        for (name, value) in values.as_object().unwrap() {
            let of = &schema["properties"][name];
            // `spec` has defaults only for what the chart itself chooses.
            if name != "spec" && of["properties"].is_object() && name != "resources" {
                assert_eq!(names(&of["properties"]), names(value), "{chart}: {name}");
            }
        }
    }
}

#[test]
fn every_alert_names_a_severity_and_what_to_do() {
    let alerts = yaml("charts/granary/files/alerts.yaml");
    let rules = alerts["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    for rule in rules {
        assert!([json!("warning"), json!("critical")].contains(&rule["labels"]["severity"]), "{rule}");
        assert!(rule["annotations"]["summary"].is_string() && rule["annotations"]["description"].is_string(), "{rule}");
    }
}

fn names(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

fn text(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap()
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap()
}
