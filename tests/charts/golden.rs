//! What the charts render, whole, as Kubernetes gets it, and `helm lint`. The definition is compared in `generated`.

use crate::{
    committed,
    helm::{Helm, documents, with_helm},
};

const OPERATOR: &str = "charts/granary";
const CLUSTER: &str = "charts/granary-cluster";

fn golden(helm: &Helm, name: &str, release: &str, chart: &str, values: &[&str]) {
    let rendered = helm.rendered(release, chart, values);
    let texts = documents(&rendered).into_iter().map(|(text, value)| match value["kind"].as_str() {
        Some("CustomResourceDefinition") => "# the CustomResourceDefinition\n".to_owned(),
        _ => format!("{}\n", text.trim_end()),
    });
    committed(&format!("tests/charts/golden/{name}.yaml"), &texts.collect::<Vec<_>>().join("---\n"));
}

#[test]
fn the_operators_chart_renders_as_before() {
    with_helm(|helm| {
        golden(helm, "operator-default", "granary", OPERATOR, &[]);
        golden(helm, "operator-namespaces", "granary", OPERATOR, &["-f", "tests/charts/values/namespaces.yaml"]);
        golden(helm, "operator-everything", "other", OPERATOR, &["-f", "tests/charts/values/everything.yaml"]);
    });
}

#[test]
fn the_clusters_chart_renders_as_before() {
    with_helm(|helm| {
        golden(helm, "cluster-default", "demo", CLUSTER, &["--set", "spec.image=granary:0.1.0"]);
        golden(helm, "cluster-everything", "demo", CLUSTER, &["-f", "tests/charts/values/cluster.yaml"]);
    });
}

#[test]
fn lint_has_nothing_to_say() {
    with_helm(|helm| {
        for arguments in [
            &[OPERATOR][..],
            &[OPERATOR, "-f", "tests/charts/values/namespaces.yaml"],
            &[OPERATOR, "-f", "tests/charts/values/everything.yaml"],
            &[CLUSTER, "--set", "spec.image=granary:0.1.0"],
            &[CLUSTER, "-f", "tests/charts/values/cluster.yaml"],
        ] {
            let output = helm.run(&[&["lint", "--strict", "--quiet"], arguments].concat());
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        }
    });
}
