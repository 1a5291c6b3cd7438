//! What every pod keeps to, whatever the spec says.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::*;

const NODE_OPTIONS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../storage-node/src/options.rs"));

fn pod(spec: &StorageClusterSpec) -> PodSpec {
    pod_template(&of(spec), 0).expect("a valid template").spec.expect("a spec")
}

fn node(spec: &StorageClusterSpec) -> Container {
    pod(spec).containers.into_iter().find(|container| container.name == "node").expect("the node")
}

#[test]
fn every_variable_is_an_option_of_the_node() {
    for variable in node(&minimal()).env.expect("variables") {
        assert!(NODE_OPTIONS.contains(&format!("env = \"{}\"", variable.name)), "{}", variable.name);
    }
}

#[test]
fn every_pod_is_restricted() {
    for spec in [minimal(), every_field()] {
        let (pod, node) = (pod(&spec), node(&spec));
        let (of_pod, of_node) = (pod.security_context.expect("one"), node.security_context.expect("one"));
        assert_eq!(of_pod.run_as_non_root, Some(true));
        assert_eq!(of_pod.seccomp_profile.map(|profile| profile.type_), Some("RuntimeDefault".to_owned()));
        assert_eq!(of_node.allow_privilege_escalation, Some(false));
        assert_eq!(of_node.read_only_root_filesystem, Some(true));
        assert_eq!(of_node.capabilities.and_then(|capabilities| capabilities.drop), Some(vec!["ALL".to_owned()]));
        assert_eq!(pod.automount_service_account_token, Some(false));
    }
}

#[test]
fn ids_are_our_own_unless_the_user_says_something_of_them() {
    let ids = |yaml: &str| {
        let mut spec = minimal();
        spec.pod_security_context = serde_saphyr::from_str(yaml).expect("YAML");
        let context = pod(&spec).security_context.expect("one");
        (context.run_as_user, context.run_as_group, context.fs_group)
    };
    assert_eq!(ids("null"), (Some(65532), Some(65532), Some(65532)));
    assert_eq!(ids("{}"), (None, None, None));
    assert_eq!(ids("{runAsUser: 7}"), (Some(7), None, None));
}

#[test]
fn small_requests_are_made_only_where_the_user_says_nothing() {
    let resources = |yaml: &str| {
        let mut spec = minimal();
        spec.resources = serde_saphyr::from_str(yaml).expect("YAML");
        let resources = node(&spec).resources.expect("resources");
        let texts = |of: Option<BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>| {
            of.unwrap_or_default().into_iter().map(|(name, amount)| format!("{name} {}", amount.0)).collect::<Vec<_>>()
        };
        (texts(resources.requests), texts(resources.limits))
    };
    let none = Vec::<String>::new;
    assert_eq!(resources("{}"), (vec!["cpu 100m".into(), "memory 256Mi".into()], none()));
    assert_eq!(resources("{requests: {cpu: 2}}"), (vec!["cpu 2".into()], none()));
    assert_eq!(resources("{limits: {memory: 1Gi}}"), (none(), vec!["memory 1Gi".into()]));
}

#[test]
fn a_node_hands_over_within_the_grace_period() {
    for (grace, graceful) in [(10, "3"), (60, "20"), (3600, "600")] {
        let mut spec = minimal();
        spec.termination_grace_period_seconds = grace;
        let variables = node(&spec).env.expect("variables");
        let found = variables.into_iter().find(|variable| variable.name == "GRANARY_GRACEFUL_SECONDS");
        assert_eq!(found.and_then(|variable| variable.value).as_deref(), Some(graceful));
    }
}

#[test]
fn the_users_labels_never_win_over_the_operators() {
    let mut spec = minimal();
    spec.pod_labels = one(names::LABEL_CLUSTER, "other");
    let labels = pod_template(&of(&spec), 0).expect("a template").metadata.expect("metadata").labels;
    assert_eq!(labels.expect("labels")[names::LABEL_CLUSTER], "demo");
}

#[test]
fn an_affinity_with_a_slip_of_the_pen_is_refused_by_name() {
    let mut spec = minimal();
    spec.affinity = serde_saphyr::from_str("{nodeAffinitty: {}}").expect("YAML");
    let error = pod_template(&of(&spec), 0).unwrap_err();
    assert_eq!(error, TemplateError::Unknown { field: "spec.affinity.nodeAffinitty".to_owned() });
}
