//! Reads a StorageCluster from YAML as local mode does: strictly, since no API server stands between it and the user.

use serde_json::Value;
use thiserror::Error;

use crate::{
    definition::definition,
    rules::{FieldError, validate_cluster},
    schema,
    spec::StorageCluster,
};

const API_VERSION: &str = "granary.io/v1alpha1";
const KIND: &str = "StorageCluster";

/// Why a document is not a StorageCluster.
#[derive(Debug, Error)]
pub enum ParseError {
    /// Not YAML, with the place.
    #[error("not YAML: {0}")]
    Yaml(String),
    /// Fields that do not hold what they may; one line each.
    #[error("{}", lines(.0))]
    Fields(Vec<FieldError>),
}

fn lines(errors: &[FieldError]) -> String {
    errors.iter().map(FieldError::to_string).collect::<Vec<_>>().join("\n")
}

/// Reads and checks one document.
///
/// # Errors
/// Names each field that is unknown, missing or holds what it may not, with its value and what is allowed.
pub fn parse(text: &str) -> Result<StorageCluster, ParseError> {
    let mut document: Value = serde_saphyr::from_str(text).map_err(|error| ParseError::Yaml(error.to_string()))?;
    let wrong = wrong_kind(&document);
    refuse(if wrong.is_empty() { schema_errors(&mut document) } else { wrong })?;
    let cluster: StorageCluster = serde_json::from_value(document).map_err(|error| {
        // The schema was satisfied: only a number that does not fit into an i32 is left.
        ParseError::Fields(vec![FieldError::new("spec", error.to_string(), "numbers of 32 bits")])
    })?;
    refuse(validate_cluster(&cluster, None))?;
    Ok(cluster)
}

fn refuse(errors: Vec<FieldError>) -> Result<(), ParseError> {
    if errors.is_empty() { Ok(()) } else { Err(ParseError::Fields(errors)) }
}

fn wrong_kind(document: &Value) -> Vec<FieldError> {
    [("apiVersion", API_VERSION), ("kind", KIND)]
        .into_iter()
        .filter(|(field, allowed)| document.get(field).and_then(Value::as_str) != Some(allowed))
        .map(|(field, allowed)| {
            let value = document.get(field).map_or("missing".to_owned(), Value::to_string);
            FieldError::new(field, value, allowed)
        })
        .collect()
}

/// Checks the document by its schema, once the nulls that mean nothing are out of it.
fn schema_errors(document: &mut Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if document.pointer("/metadata/name").is_none() {
        errors.push(FieldError::new("metadata.name", "missing", "a name, since it is required"));
    }
    let definition = definition();
    let schema =
        definition.spec.versions.iter().find_map(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    if let Some(schema) = schema {
        schema::prune_nulls(schema, document);
        errors.extend(schema::check(schema, document));
    }
    errors
}
