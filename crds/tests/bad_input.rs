//! Each bad field is refused with its name, its value and what is allowed.

use granary_crds::{ParseError, StorageCluster, parse, validate};

const GOOD: &str = include_str!("../../examples/cluster.yaml");

#[allow(clippy::expect_used)]
fn good() -> StorageCluster {
    parse(GOOD).expect("the example is valid")
}

/// The example with one line of its spec replaced.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "the example has no {from:?}");
    GOOD.replacen(from, to, 1)
}

#[test]
fn the_example_is_accepted_and_what_it_leaves_out_has_its_default() {
    let spec = good().spec;
    assert_eq!((spec.replicas, spec.replication_factor, spec.shards), (3, 3, 64));
    assert_eq!(spec.failover.replace_after, "5m");
    assert!(!spec.paused);
}

#[test]
fn a_bad_field_is_refused_with_its_name_its_value_and_what_is_allowed() {
    let table = [
        ("replicas: 3 ", "replicaz: 3 ", ["spec.replicaz", "holds 3", "replicas, replicationFactor"]),
        ("size: 10Gi", "siez: 10Gi", ["spec.storage.siez", "10Gi", "className, size, whenScaled"]),
        ("name: demo", "nmae: demo", ["metadata.nmae", "demo", "name, namespace"]),
        ("name: demo", "name: 9demo", ["metadata.name", "9demo", "from a letter"]),
        ("replicas: 3 ", "replicas: 2 ", ["spec.replicas", "2 with", "spec.replicationFactor or more"]),
        ("replicas: 3 ", "replicas: 101 ", ["spec.replicas", "101", "1 to 100"]),
        ("replicas: 3 ", "replicas: three ", ["spec.replicas", "three", "a whole number"]),
        ("replicas: 3 ", "replicas: 99999999999 ", ["spec", "99999999999", "32 bits"]),
        ("replicationFactor: 3", "replicationFactor: 2", ["spec.replicationFactor", "2", "1, 3 or 5"]),
        ("replicationFactor: 3", "replicationFactor: 0", ["spec.replicationFactor", "0", "1, 3 or 5"]),
        ("shards: 64", "shards: 48", ["spec.shards", "48", "power of two from 1 to 1024"]),
        ("shards: 64", "shards: 0", ["spec.shards", "0", "power of two from 1 to 1024"]),
        ("shards: 64", "shards: 2048", ["spec.shards", "2048", "power of two from 1 to 1024"]),
        ("image: granary:0.1.0", "image: granary", ["spec.image", "granary", "a tag or a digest"]),
        ("image: granary:0.1.0", "paused: false", ["spec.image", "missing", "required"]),
        ("size: 10Gi", "size: 10GB", ["spec.storage.size", "10GB", "such as 10Gi"]),
        ("size: 10Gi", "whenScaled: Drop", ["spec.storage.whenScaled", "Drop", "Retain or Delete"]),
        ("shards: 64", "failover: { replaceAfter: soon }", ["spec.failover.replaceAfter", "soon", "such as 5m"]),
        ("kind: StorageCluster", "kind: Cluster", ["kind", "Cluster", "StorageCluster"]),
    ];
    for (from, to, parts) in table {
        let Err(ParseError::Fields(errors)) = parse(&with(from, to)) else { panic!("{to:?} was accepted") };
        let found = errors.iter().any(|error| parts.iter().all(|part| error.message.contains(part)));
        assert!(found, "{to:?} gave {errors:?}, wanted {parts:?}");
    }
}

#[test]
fn what_is_fixed_at_creation_cannot_change() {
    let old = good().spec;
    let mut new = old.clone();
    (new.shards, new.replication_factor, new.replicas) = (128, 5, 5);
    new.storage.class_name = Some("fast".into());
    let messages: Vec<_> = validate(&new, Some(&old)).into_iter().map(|error| error.message).collect();
    assert_eq!(
        messages,
        [
            "spec.replicationFactor is 5, allowed: its value at creation, 3",
            "spec.shards is 128, allowed: its value at creation, 64",
            "spec.storage.className is \"fast\", allowed: its value at creation, unset",
        ]
    );
}

#[test]
fn replicas_may_change() {
    let old = good().spec;
    let new = granary_crds::StorageClusterSpec { replicas: 5, ..old.clone() };
    assert_eq!(validate(&new, Some(&old)), []);
}

#[test]
fn text_that_is_not_yaml_and_a_field_given_twice_are_refused_with_the_place() {
    for text in ["spec: [", "a: 1\na: 2\n"] {
        let error = parse(text).unwrap_err();
        assert!(matches!(error, ParseError::Yaml(_)), "{text:?} gave {error}");
    }
}

#[test]
fn garbage_of_any_kind_is_an_error_and_not_a_crash() {
    for text in [
        "",
        "null",
        "3",
        "[]",
        "kind: StorageCluster",
        "apiVersion: granary.io/v1alpha1\nkind: StorageCluster\nspec: 3\nmetadata: 4",
    ] {
        assert!(parse(text).is_err(), "{text:?}");
    }
}
