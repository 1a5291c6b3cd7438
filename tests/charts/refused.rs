//! Values that a chart refuses, and what it says; and values that pass through unharmed.

use crate::helm::{documents, with_helm};

#[test]
fn values_that_make_no_sense_are_refused_by_name() {
    with_helm(|helm| {
        for (chart, set, said) in [
            ("granary", "replcias=3", "replcias"),
            ("granary", "image.reposotory=x", "reposotory"),
            ("granary", "crds.instal=false", "instal"),
            ("granary", "replicas=9", "replicas"),
            ("granary", "watchNamespaces={Team_A}", "watchNamespaces"),
            ("granary", "watchNamespaces={a,a}", "watchNamespaces"),
            ("granary", "metricsPort=80", "metricsPort"),
            ("granary", "image.pullPolicy=Sometimes", "pullPolicy"),
            ("granary-cluster", "spec.image=", "spec.image says which image the nodes run"),
            ("granary-cluster", "spec.replcias=3", "replcias"),
            ("granary-cluster", "spec.storage.clasName=fast", "clasName"),
            ("granary-cluster", "spec.deletionPolicy=Perhaps", "deletionPolicy"),
            ("granary-cluster", "spec.replicas=three", "replicas"),
            ("granary-cluster", "replicas=3", "replicas"),
            ("granary-cluster", "name=Demo.1", "name"),
        ] {
            let refusal = helm.refusal(&format!("charts/{chart}"), &["--set", set]);
            assert!(refusal.contains(said), "{chart} --set {set}: {refusal}");
        }
    });
}

#[test]
fn an_older_kubernetes_is_refused() {
    with_helm(|helm| {
        for chart in ["granary", "granary-cluster"] {
            let refusal = helm.refusal(&format!("charts/{chart}"), &["--kube-version", "1.32.9"]);
            assert!(refusal.contains("kubeVersion"), "{refusal}");
        }
    });
}

#[test]
fn long_numbers_stay_whole_numbers() {
    with_helm(|helm| {
        let set = "spec.image=a:1,spec.podSecurityContext.runAsUser=1000680000";
        for values in [&["--set", set][..], &["-f", "tests/charts/values/cluster.yaml"]] {
            let rendered = helm.rendered("demo", "charts/granary-cluster", values);
            let all = documents(&rendered);
            let (_, cluster) = all.iter().find(|(_, value)| value["kind"] == "StorageCluster").unwrap();
            assert_eq!(cluster["spec"]["podSecurityContext"]["runAsUser"].as_i64(), Some(1_000_680_000), "{rendered}");
        }
    });
}

#[test]
fn a_digest_names_the_operators_image() {
    with_helm(|helm| {
        let digest = "0123456789abcdef".repeat(4);
        let values = format!("image.repository=example.test/granary@sha256,image.tag={digest}");
        let rendered = helm.rendered("granary", "charts/granary", &["--set-string", &values]);
        assert!(rendered.contains(&format!("image: \"example.test/granary@sha256:{digest}\"")), "{rendered}");
    });
}
