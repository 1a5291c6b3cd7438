//! Reads a part of a spec as the Kubernetes type that it is, and refuses what that type does not have: a field with a
//! slip of the pen must not be dropped in silence.

use granary_crds::pods::Overlay;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::TemplateError;

/// The object as a `T`.
///
/// # Errors
/// Names the first field that is unknown, null or of another type.
pub fn typed<T: DeserializeOwned + Serialize>(field: &str, given: &Overlay) -> Result<T, TemplateError> {
    let malformed = |problem: String| TemplateError::Malformed { field: field.to_owned(), problem };
    let given = Value::Object(given.clone());
    no_null(field, &given)?;
    let read: T = serde_json::from_value(given.clone()).map_err(|error| malformed(error.to_string()))?;
    let known = serde_json::to_value(&read).map_err(|error| malformed(error.to_string()))?;
    all_known(field, &given, &known)?;
    Ok(read)
}

/// A null would remove a field in a patch; here there is nothing to remove that may be removed.
fn no_null(path: &str, given: &Value) -> Result<(), TemplateError> {
    match given {
        Value::Null => Err(TemplateError::Malformed { field: path.to_owned(), problem: "it is null".to_owned() }),
        _ => parts(path, given).into_iter().try_for_each(|(path, part)| no_null(&path, part)),
    }
}

/// Whether everything given came back from the type.
fn all_known(path: &str, given: &Value, known: &Value) -> Result<(), TemplateError> {
    let back: std::collections::BTreeMap<_, _> = parts(path, known).into_iter().collect();
    parts(path, given).into_iter().try_for_each(|(path, part)| match back.get(&path) {
        Some(back) => all_known(&path, part, back),
        None => Err(TemplateError::Unknown { field: path }),
    })
}

/// The parts of an object or a list, each with its path.
fn parts<'a>(path: &str, value: &'a Value) -> Vec<(String, &'a Value)> {
    match value {
        Value::Object(entries) => entries.iter().map(|(key, value)| (format!("{path}.{key}"), value)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, value)| (format!("{path}[{index}]"), value)).collect()
        }
        _ => Vec::new(),
    }
}
