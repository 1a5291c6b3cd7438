//! The schema of granary-cluster's values: the definition's schema of `spec`, as JSON Schema and strict.

use serde_json::{Map, Value, json};

/// The whole values.schema.json.
pub fn cluster_values() -> Value {
    let definition = serde_json::to_value(granary_crds::definition()).unwrap();
    let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": "Made by tests/charts; spec is from the CustomResourceDefinition.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "global": { "type": "object" },
            "name": { "type": "string", "pattern": "^([a-z]([-a-z0-9]{0,38}[a-z0-9])?)?$" },
            "labels": texts,
            "annotations": texts,
            "spec": strict(spec),
            "podMonitor": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "enabled": { "type": "boolean" },
                    "interval": { "type": "string", "pattern": "^[1-9][0-9]*(ms|s|m|h)$" },
                    "labels": texts,
                },
            },
        },
    })
}

/// One level of an OpenAPI schema. Rules in CEL are left to the API server, which says them better.
fn strict(schema: &Value) -> Value {
    let Some(schema) = schema.as_object() else { return schema.clone() };
    let mut made = Map::new();
    for (key, value) in schema {
        match key.as_str() {
            "properties" => {
                let inner = value.as_object().unwrap().iter().map(|(name, inner)| (name.clone(), strict(inner)));
                made.insert(key.clone(), inner.collect::<Map<_, _>>().into());
            }
            "items" | "additionalProperties" => {
                made.insert(key.clone(), strict(value));
            }
            "description" | "type" | "enum" | "required" | "pattern" | "minimum" | "maximum" | "minLength"
            | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
                made.insert(key.clone(), value.clone());
            }
            _ => {}
        }
    }
    let says = |key: &str| schema.get(key) == Some(&Value::Bool(true));
    if says("x-kubernetes-int-or-string") {
        made.insert("type".to_owned(), json!(["integer", "string"]));
    }
    if says("nullable") {
        made.insert("type".to_owned(), json!([schema["type"], "null"]));
    }
    if schema.contains_key("properties") && !says("x-kubernetes-preserve-unknown-fields") {
        made.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    made.into()
}

#[test]
fn a_level_becomes_strict_unless_it_keeps_what_it_does_not_know() {
    let open = json!({"type": "object", "properties": {"a": {"type": "string", "default": "x"}}});
    assert_eq!(
        strict(&open),
        json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false})
    );
    let kept = json!({"type": "object", "properties": {}, "x-kubernetes-preserve-unknown-fields": true});
    assert_eq!(strict(&kept), json!({"type": "object", "properties": {}}));
    let map = json!({"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": true}});
    assert_eq!(strict(&map)["additionalProperties"], json!({"type": ["integer", "string"]}));
}
