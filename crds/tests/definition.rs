//! The committed CRD is the one that the types make, and fits into what installs it.

#[test]
fn the_committed_definition_equals_the_types() {
    let made = granary_crds::definition_yaml().unwrap();
    let committed = include_str!("../crds/storagecluster.yaml");
    assert!(made == committed, "stale: run `cargo run -p granary-crds --bin crdgen` and commit");
    assert!(committed.len() < 100_000, "{} bytes", committed.len());
}

#[test]
fn every_rule_carries_its_message_with_field_value_and_what_is_allowed() {
    let definition = granary_crds::definition();
    let root = definition.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
    let spec = &root.properties.as_ref().unwrap()["spec"];
    let rules: Vec<_> =
        [root, spec].into_iter().flat_map(|schema| schema.x_kubernetes_validations.clone().unwrap()).collect();
    assert_eq!(rules.len(), 36);
    for rule in rules {
        let message = rule.message_expression.unwrap();
        assert!(message.contains(" is ") && message.contains(", allowed: "), "{message}");
        let (text, values) = message.rsplit_once("'.format([").unwrap();
        assert!(text.contains("%s") && values.ends_with("])"), "{message}");
    }
}
