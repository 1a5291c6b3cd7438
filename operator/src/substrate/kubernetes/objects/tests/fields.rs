//! What changes the hash of the user's fields, and what does not. The hashes in here are on objects of running
//! clusters: a change that breaks one restarts every pod of every cluster when the operator is upgraded.

use super::*;

const MINIMAL: &str = "b58e2b637d620623";
const EVERY_FIELD: &str = "b89fcad19388f99f";

fn hash(spec: &StorageClusterSpec) -> String {
    template_hash(&of(spec))
}

/// The spec with one field set, as a user writes it.
fn with(spec: &StorageClusterSpec, field: &str, value: &str) -> StorageClusterSpec {
    let mut all = serde_json::to_value(spec).expect("JSON");
    all[field] = serde_saphyr::from_str(value).expect("YAML");
    serde_json::from_value(all).expect("a spec")
}

#[test]
fn hashes_are_those_of_earlier_versions() {
    assert_eq!(hash(&minimal()), MINIMAL);
    let spec = every_field();
    assert_eq!(template_hash(&Of { restart: Some("once"), ..of(&spec) }), EVERY_FIELD);
}

#[test]
fn what_shapes_no_pod_does_not_count() {
    let fields = [
        ("replicas", "5"),
        ("replicationFactor", "1"),
        ("shards", "16"),
        ("storage", "{size: 20Gi, className: other, whenScaled: Delete}"),
        ("deletionPolicy", "Delete"),
        ("failover", "{replaceAfter: 1h}"),
        ("paused", "true"),
        ("networkPolicy", "Disabled"),
    ];
    for (field, value) in fields {
        assert_eq!(hash(&with(&minimal(), field, value)), MINIMAL, "{field}");
    }
    let spec = minimal();
    let elsewhere = Of { cluster_domain: "other", cluster_id: "other", uid: "other", ..of(&spec) };
    assert_eq!(template_hash(&elsewhere), MINIMAL);
}

#[test]
fn a_default_that_is_written_out_does_not_count() {
    let fields = [
        ("imagePullSecrets", "[]"),
        ("resources", "{requests: {}, limits: {}}"),
        ("nodeSelector", "{}"),
        ("tolerations", "[]"),
        ("affinity", "{}"),
        ("topologySpread", "Preferred"),
        ("podLabels", "{}"),
        ("podAnnotations", "{}"),
        ("podSecurityContext", "{runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532}"),
        ("terminationGracePeriodSeconds", "60"),
        ("podTemplate", "{}"),
    ];
    for (field, value) in fields {
        assert_eq!(hash(&with(&minimal(), field, value)), MINIMAL, "{field}");
    }
}

#[test]
fn what_shapes_a_pod_counts_and_is_named() {
    let fields = [
        ("image", "granary:0.1.1"),
        ("imagePullSecrets", "[{name: other}]"),
        ("resources", "{limits: {cpu: 1}}"),
        ("nodeSelector", "{disk: nvme}"),
        ("tolerations", "[{operator: Exists}]"),
        ("affinity", "{podAffinity: {}}"),
        ("topologySpread", "Required"),
        ("priorityClassName", "high"),
        ("podLabels", "{a: b}"),
        ("podAnnotations", "{a: b}"),
        ("podSecurityContext", "{}"),
        ("terminationGracePeriodSeconds", "61"),
        ("serviceAccountName", "other"),
        ("podTemplate", "{spec: {hostNetwork: true}}"),
    ];
    let old = template_fields(&of(&minimal()));
    let mut hashes = vec![MINIMAL.to_owned()];
    for (field, value) in fields {
        let spec = with(&minimal(), field, value);
        hashes.push(hash(&spec));
        let why = why_changed(Some(&old), &template_fields(&of(&spec)));
        assert!(why.starts_with(&format!("{field}: ")), "{why}");
    }
    let spec = minimal();
    hashes.push(template_hash(&Of { restart: Some("once"), ..of(&spec) }));
    let count = hashes.len();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), count, "two of them are equal");
}

#[test]
fn how_a_value_is_written_does_not_count() {
    let pairs = [
        ("resources", "{requests: {cpu: 1, memory: 1Gi}}", "{requests: {memory: 1Gi, cpu: '1'}}"),
        ("podTemplate", "{spec: {hostPID: true, hostIPC: true}}", "{spec: {hostIPC: true, hostPID: true}}"),
    ];
    for (field, one, other) in pairs {
        assert_eq!(hash(&with(&minimal(), field, one)), hash(&with(&minimal(), field, other)), "{field}");
    }
}

#[test]
fn a_restart_names_its_reason() {
    let noted = |spec: &StorageClusterSpec, restart| template_fields(&Of { restart, ..of(spec) });
    let (old, new) = (minimal(), with(&minimal(), "image", "granary:0.1.1"));
    assert_eq!(why_changed(Some(&noted(&old, None)), &noted(&new, None)), "image: granary:0.1.1");
    assert_eq!(why_changed(Some(&noted(&old, None)), &noted(&old, Some("again"))), "restart: again");
    assert_eq!(why_changed(Some(&noted(&old, Some("a"))), &noted(&old, None)), "restart: unset");
    let long = with(&old, "podAnnotations", &format!("{{a: {}}}", "x".repeat(100)));
    assert_eq!(why_changed(Some(&noted(&old, None)), &noted(&long, None)), "podAnnotations");
    let many = why_changed(Some(&noted(&every_field(), None)), &noted(&old, None));
    assert!(many.ends_with(" and 11 more"), "{many}");
    for lost in [None, Some("no JSON")] {
        assert_eq!(why_changed(lost, &noted(&old, None)), "template");
    }
}

#[test]
fn what_is_noted_stays_short() {
    let mut spec = every_field();
    for index in 0..16 {
        spec.pod_annotations.insert(format!("example.org/{index}"), "\"".repeat(4096));
    }
    assert!(template_fields(&Of { restart: Some(&"\"".repeat(80)), ..of(&spec) }).len() <= 4096);
}
