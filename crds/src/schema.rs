//! Checks a document against the schema of the CRD, so that local mode refuses what the API server would refuse or warn
//! about: unknown and missing fields, wrong types, words outside an enum.
//!
//! Only what our own schema uses is known: type, properties, required, enum, items, additionalProperties, int-or-string,
//! preserve-unknown-fields, and the most a text, a list or a map may hold.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

use crate::rules::FieldError;

/// Fields that every object has; the schema leaves them to the API server.
const OF_EVERY_OBJECT: &[&str] = &["apiVersion", "kind", "metadata"];
/// Fields of `metadata` that a file may hold; the API server knows them, the schema does not say them.
const METADATA: &[&str] = &[
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
/// Longest part of a value that an error shows, in characters.
const SHOWN: usize = 80;

/// Everything in `document` that `schema` does not allow, in the order of the document.
pub(crate) fn check(schema: &JSONSchemaProps, document: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut own = document.clone();
    if let Some(fields) = own.as_object_mut() {
        fields.retain(|name, _| !OF_EVERY_OBJECT.contains(&name.as_str()));
    }
    walk(schema, &own, "", &mut errors);
    if let Some(metadata) = document.get("metadata").and_then(Value::as_object) {
        for (name, value) in metadata.iter().filter(|(name, _)| !METADATA.contains(&name.as_str())) {
            errors.push(unknown(&format!("metadata.{name}"), value, METADATA.iter().copied()));
        }
    }
    errors
}

/// Takes out each field that is null where null is none of its values, as the API server does: it counts as left out.
/// What the schema keeps as it is keeps its nulls.
pub(crate) fn prune_nulls(schema: &JSONSchemaProps, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let known = schema.properties.as_ref();
            fields.retain(|name, value| {
                let Some(schema) = known.and_then(|known| known.get(name)) else { return true };
                prune_nulls(schema, value);
                !value.is_null() || schema.nullable == Some(true)
            });
        }
        Value::Array(items) => {
            if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
                items.iter_mut().for_each(|value| prune_nulls(item, value));
            }
        }
        _ => {}
    }
}

fn walk(schema: &JSONSchemaProps, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if value.is_null() && schema.nullable == Some(true) {
        return;
    }
    if let Some(words) = &schema.enum_
        && !words.iter().any(|word| word.0 == *value)
    {
        let allowed: Vec<_> = words.iter().map(|word| word.0.as_str().unwrap_or_default()).collect();
        errors.push(FieldError::new(path, shown(value), allowed.join(" or ")));
        return;
    }
    if let Some(expected) = expected_type(schema)
        && !has_type(value, expected)
    {
        errors.push(FieldError::new(path, shown(value), article(expected)));
        return;
    }
    if let Some((most, what)) = too_many(schema, value) {
        errors.push(FieldError::new(path, shown(value), format!("at most {most} {what}")));
        return;
    }
    match value {
        Value::Object(fields) => walk_object(schema, fields, path, errors),
        Value::Array(items) => {
            if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
                for (index, value) in items.iter().enumerate() {
                    walk(item, value, &format!("{path}[{index}]"), errors);
                }
            }
        }
        _ => {}
    }
}

fn walk_object(
    schema: &JSONSchemaProps,
    fields: &serde_json::Map<String, Value>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    for name in schema.required.iter().flatten().filter(|name| !fields.contains_key(*name)) {
        errors.push(FieldError::new(join(path, name), "missing", "a value, since it is required"));
    }
    for (name, value) in fields {
        let path = join(path, name);
        if let Some(known) = schema.properties.as_ref().and_then(|known| known.get(name)) {
            walk(known, value, &path, errors);
        } else if let Some(JSONSchemaPropsOrBool::Schema(each)) = &schema.additional_properties {
            walk(each, value, &path, errors);
        } else if schema.x_kubernetes_preserve_unknown_fields == Some(true) {
            // Kept as it is.
        } else if let Some(known) = schema.properties.as_ref() {
            errors.push(unknown(&path, value, known.keys().map(String::as_str)));
        }
    }
}

/// The most that a value may hold and what of, when it holds more.
fn too_many(schema: &JSONSchemaProps, value: &Value) -> Option<(i64, &'static str)> {
    let (length, most, what) = match value {
        Value::String(text) => (text.chars().count(), schema.max_length, "characters"),
        Value::Array(items) => (items.len(), schema.max_items, "entries"),
        Value::Object(fields) => (fields.len(), schema.max_properties, "keys"),
        _ => return None,
    };
    most.filter(|most| i64::try_from(length).is_ok_and(|length| length > *most)).map(|most| (most, what))
}

fn unknown<'a>(path: &str, value: &Value, known: impl Iterator<Item = &'a str>) -> FieldError {
    let known: Vec<_> = known.collect();
    FieldError::new(path, format!("an unknown field (holds {})", shown(value)), known.join(", "))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn expected_type(schema: &JSONSchemaProps) -> Option<&str> {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return Some("integer or string");
    }
    schema.type_.as_deref()
}

fn has_type(value: &Value, expected: &str) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        // Each integer of our schema is an i32, or an i64 in status.
        "integer" => value.as_i64().is_some(),
        "integer or string" => value.as_i64().is_some() || value.is_string(),
        _ => true,
    }
}

fn article(expected: &str) -> String {
    match expected {
        "integer or string" => "a whole number or a string".to_owned(),
        "integer" => "a whole number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "array" => "a list".to_owned(),
        "object" => "a mapping".to_owned(),
        other => format!("a {other}"),
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN { text } else { format!("{}…", text.chars().take(SHOWN).collect::<String>()) }
}
